/*
** schedule.c: the shared part of a loop, and the table of anchored values.
*/
#include "schedule.h"

#include <string.h>

static void *reallocate(lua_State *L, void *block, size_t old_size, size_t size)
{
  void *ud;
  lua_Alloc allocate = lua_getallocf(L, &ud);
  return allocate(ud, block, old_size, size);
}

static void retain_host(agenda_host *host)
{
  agenda_schedule_retain(AGENDA_LIST_OWNER(host, agenda_schedule, host));
}

static void release_host(lua_State *L, agenda_host *host)
{
  agenda_schedule_release(L, AGENDA_LIST_OWNER(host, agenda_schedule, host));
}

/*
** NB: the memory is a userdata in the registry, not a block of the allocator's: where memory is
** short Lua drops a finalizer unrun, and a reference that is never given back must not outlive
** the state.
*/
agenda_schedule *agenda_schedule_new(lua_State *L, agenda_state *state)
{
  agenda_schedule *schedule = lua_newuserdatauv(L, sizeof *schedule, 0);
  memset(schedule, 0, sizeof *schedule);
  schedule->state = state;
  schedule->references = 1;
  schedule->anchors = LUA_NOREF;
  agenda_list_init(&schedule->tasks);
  lua_newtable(L);
  schedule->anchors = luaL_ref(L, LUA_REGISTRYINDEX);
  agenda_host_init(L, &schedule->host);
  schedule->host.retain = retain_host;
  schedule->host.release = release_host;
  schedule->self = luaL_ref(L, LUA_REGISTRYINDEX);
  return schedule;
}

void agenda_schedule_push_self(lua_State *L, agenda_schedule *schedule)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, schedule->self);
}

void agenda_schedule_retain(agenda_schedule *schedule)
{
  schedule->references++;
}

void agenda_schedule_release(lua_State *L, agenda_schedule *schedule)
{
  if (schedule == NULL || --schedule->references > 0)
    return;
  agenda_schedule_close(L, schedule);
  luaL_unref(L, LUA_REGISTRYINDEX, schedule->self);
  schedule->self = LUA_NOREF;
}

void agenda_schedule_close(lua_State *L, agenda_schedule *schedule)
{
  if (schedule->closed)
    return;
  schedule->closed = true;
  agenda_ready_queue_free(L, &schedule->ready);
  agenda_deadline_heap_free(L, &schedule->deadlines);
  if (schedule->free_slots != NULL)
    reallocate(L, schedule->free_slots, schedule->free_size * sizeof(uint32_t), 0);
  schedule->free_slots = NULL;
  schedule->free_count = schedule->free_size = 0;
  luaL_unref(L, LUA_REGISTRYINDEX, schedule->anchors);
  schedule->anchors = LUA_NOREF;
  agenda_host_clear(L, &schedule->host);
}

/*
** NB: room to free the slot again is made here, so that letting go can never fail.
*/
uint32_t agenda_schedule_anchor(lua_State *L, agenda_schedule *schedule, int index)
{
  if (schedule->closed)
    return 0;
  index = lua_absindex(L, index);
  lua_rawgeti(L, LUA_REGISTRYINDEX, schedule->anchors);
  lua_pushvalue(L, index);
  if (schedule->free_count > 0) {
    uint32_t slot = schedule->free_slots[--schedule->free_count];
    lua_rawseti(L, -2, slot);
    lua_pop(L, 1);
    return slot;
  }
  if (schedule->slots == schedule->free_size) {
    uint32_t size = schedule->free_size == 0 ? 64 : schedule->free_size + schedule->free_size / 2;
    uint32_t *slots = reallocate(L, schedule->free_slots, schedule->free_size * sizeof(uint32_t),
                                 size * sizeof(uint32_t));
    if (slots == NULL)
      luaL_error(L, "not enough memory");
    schedule->free_slots = slots;
    schedule->free_size = size;
  }
  lua_rawseti(L, -2, (lua_Integer)schedule->slots + 1);
  lua_pop(L, 1);
  return ++schedule->slots;
}

void agenda_schedule_push(lua_State *L, agenda_schedule *schedule, uint32_t slot)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, schedule->anchors);
  lua_rawgeti(L, -1, slot);
  lua_replace(L, -2);
}

void agenda_schedule_unanchor(lua_State *L, agenda_schedule *schedule, uint32_t slot)
{
  if (slot == 0 || schedule->closed)
    return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, schedule->anchors);
  lua_pushboolean(L, 0); /* NB: not nil, or the table could be rehashed smaller and then fail */
  lua_rawseti(L, -2, slot);
  lua_pop(L, 1);
  schedule->free_slots[schedule->free_count++] = slot;
}
