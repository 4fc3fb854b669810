/*
** posts.c: agenda_post and what else comes to a loop from outside of its turns; awaitables of all
** kinds; attaching where a loop runs. spec/embed/api_spec.lua runs it, as api.c.
*/
#include "testing.h"

#include <pthread.h>
#include <unistd.h>

/* ----- awaitables ---------------------------------------------------------------------- */

/* A task may be of any awaitable, and be started in any coroutine of the state. */
static void test_spawn_of_awaitables(void)
{
  static const char *const makers[] = {
    "return agenda.async(function() agenda.sleep(0) return 'v', 2 end)()",
    "local g = agenda.asyncgen(function() agenda.sleep(0) agenda.yield('v', 2) end)()"
    " return g:anext()",
    "local f = agenda.future() f:set_result('v', 2) return f",
  };
  begin(0);
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
    outcome o = {0};
    lua_State *thread = lua_newthread(L);
    CHECK(luaL_dostring(thread, makers[i]) == LUA_OK);
    agenda_spawn(thread, 0, on_done, &o);
    CHECK(lua_gettop(thread) == 1);
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT, 0);
    ev_run(ev, 0);
    CHECK(o.calls == 1 && o.status == LUA_OK && o.n == 2 && strcmp(o.text, "v") == 0);
  }
  end();
}

static int l_reject(lua_State *state)
{
  lua_settop(state, 1);
  agenda_future_new(state);
  lua_insert(state, 1);
  CHECK(agenda_future_reject(state, 1) == 1);
  return 1;
}

static int l_resolve(lua_State *state)
{
  lua_settop(state, 2);
  lua_pushboolean(state, agenda_future_resolve(state, 1, 1));
  return 1;
}

static void test_errors_of_futures(void)
{
  outcome o = {0};
  begin(0);
  lua_register(L, "reject", l_reject);
  lua_register(L, "resolve", l_resolve);
  spawn("local errors = agenda.errors"
        " local function raised(f, ...) local ok, err = pcall(f, ...) assert(not ok) return err end"
        " local err = raised(agenda.await, reject(errors.ValueError))" /* a class */
        " assert(errors.ValueError:is(err) and err ~= errors.ValueError)"
        " err = raised(agenda.await, reject(nil))"
        " assert(tostring(err) == 'RuntimeError: nil error')"
        " local mine = {} assert(raised(agenda.await, reject(mine)) == mine)"
        " assert(errors.TypeError:is(raised(reject, errors.StopIteration())))"
        " assert(errors.TypeError:is(raised(reject, errors.StopIteration)))"
        " local task = agenda.spawn(agenda.sleep, 0)"
        " assert(raised(resolve, task, 1):find('a task ends by itself'))"
        " assert(raised(resolve, 5, 1):find('agenda.future expected, got number'))"
        " return task:await()",
        &o);
  ev_run(ev, 0);
  CHECK(o.status == LUA_OK || fprintf(stderr, "%s\n", o.text) < 0);
  end();
}

/* Waits `left` times for what the global function `wanted` gives. */
static int wait_again(lua_State *state, int status, lua_KContext left)
{
  (void)status;
  if (left == 0)
    return lua_gettop(state);
  lua_settop(state, 0);
  lua_getglobal(state, "wanted");
  lua_call(state, 0, 1);
  lua_insert(state, 1);
  return agenda_await(state, 1, left - 1, wait_again);
}

static int l_wait_often(lua_State *state)
{
  return wait_again(state, LUA_OK, lua_tointeger(state, 1));
}

static int l_wait(lua_State *state)
{
  return agenda_await(state, 1, 0, NULL);
}

static void test_await_anywhere(void)
{
  outcome o = {0};
  begin(0);
  lua_register(L, "wait_often", l_wait_often);
  lua_register(L, "wait", l_wait);
  spawn("local nap = agenda.async(function() agenda.sleep(0) return 1, 2 end) wanted = nap"
        " assert(select('#', wait_often(100)) == 3)"
        " wanted = function() return agenda.async(function() return 5 end)() end"
        " assert(select(2, wait_often(1000)) == 5)" /* nothing to wait for */
        " local sum = 0"
        " for v in agenda.asyncgen(function()"
        "   for i = 1, 3 do wait(nap()) agenda.yield(i) end end)() do sum = sum + v end"
        " assert(sum == 6)"
        " local g = agenda.generator(function() wait(nap()) agenda.yield(9) end)()"
        " assert(g:next() == 9)"
        " local own = setmetatable({}, {__await = function(self) wait(nap()) return self end})"
        " assert(wait(own) == own)"
        " local ok, err = coroutine.wrap(pcall)(wait, agenda.future())"
        " assert(not ok and agenda.errors.RuntimeError:is(err))"
        " ok, err = pcall(string.gsub, 'a', 'a', function() wait(agenda.future()) end)"
        " assert(not ok and agenda.errors.RuntimeError:is(err))"
        " ok, err = pcall(wait, 17) assert(not ok and agenda.errors.TypeError:is(err))"
        " return 1",
        &o);
  ev_run(ev, 0);
  CHECK(o.status == LUA_OK || fprintf(stderr, "%s\n", o.text) < 0);
  end();
}

/* ----- posting ------------------------------------------------------------------------- */

enum { POSTS = 1000 };

static int posts_run;

static void on_posted(lua_State *state, void *ud)
{
  CHECK(lua_gettop(state) == 0);
  CHECK((int)(size_t)ud == posts_run);
  lua_pushinteger(state, 1); /* left there: it is dropped */
  posts_run++;
  if (posts_run == 500)
    luaL_error(state, "in a posted function");
}

static void *poster(void *unused)
{
  (void)unused;
  for (size_t i = 0; i < POSTS; i++)
    CHECK(agenda_post(loop, on_posted, (void *)i) == 0);
  return NULL;
}

static void test_post(void)
{
  outcome o = {0};
  pthread_t thread;
  begin(0);
  lua_pushinteger(L, 1); /* stays where it is */
  spawn("agenda.get_running_loop():set_exception_handler(function(_, context)"
        " log[#log + 1] = tostring(context.exception) end)"
        " while not log[1] do agenda.sleep(0.001) end return 1",
        &o);
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(pthread_create(&thread, NULL, poster, NULL) == 0);
  while (posts_run < POSTS)
    agenda_step(loop, 1);
  pthread_join(thread, NULL);
  ev_run(ev, 0);
  CHECK(o.first == 1 && lua_gettop(L) == 1);
  run(L, "assert(#log == 1 and log[1]:find('in a posted function'))");
  lua_settop(L, 0);
  end();
}

static void test_post_after_detach(void)
{
  begin(0);
  CHECK(agenda_retain(loop) == loop);
  CHECK(agenda_detach(L) == 0);
  CHECK(agenda_post(loop, on_never, NULL) == -1);
  lua_close(L);
  CHECK(agenda_post(loop, on_never, NULL) == -1);
  agenda_retain(loop);
  agenda_release(loop);
  CHECK(agenda_pending(loop) == 0 && agenda_step(loop, 0) == -1);
  agenda_release(loop);
  ev_loop_destroy(ev);
}

static void test_post_after_close(void)
{
  begin(0);
  agenda_retain(loop);
  lua_close(L);
  CHECK(agenda_post(loop, on_never, NULL) == -1);
  agenda_release(loop);
  ev_loop_destroy(ev);
}

static int resolve_top;

static void on_resolve(lua_State *state, void *ud)
{
  lua_rawgeti(state, LUA_REGISTRYINDEX, *(int *)ud);
  lua_pushliteral(state, "from a thread");
  CHECK(agenda_future_resolve(state, 1, 1) == 1);
  resolve_top = lua_gettop(state);
}

static int future_ref;

static void *resolver(void *unused)
{
  (void)unused;
  usleep(5000);
  CHECK(agenda_post(loop, on_resolve, &future_ref) == 0);
  return NULL;
}

/* A blocked ev_run is woken by a post. */
static void test_post_wakes(void)
{
  outcome o = {0};
  pthread_t thread;
  begin(0);
  agenda_future_new(L);
  lua_pushvalue(L, -1);
  future_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_setglobal(L, "fut");
  spawn("return agenda.await(fut)", &o);
  CHECK(pthread_create(&thread, NULL, resolver, NULL) == 0);
  ev_run(ev, 0);
  pthread_join(thread, NULL);
  CHECK(strcmp(o.text, "from a thread") == 0 && resolve_top == 1);
  end();
}

/* ----- between the turns --------------------------------------------------------------- */

static int which; /* of what a host does just before the poll; -1: nothing */

static void on_late_prepare(struct ev_loop *l, ev_prepare *prepare, int revents)
{
  (void)l, (void)prepare, (void)revents;
  if (which < 0)
    return;
  lua_getglobal(L, "future");
  lua_pushliteral(L, "x");
  CHECK((which == 0   ? agenda_future_resolve(L, -2, 1)
         : which == 1 ? agenda_future_reject(L, -2)
                      : agenda_cancel(L, -2)) == 1);
  lua_settop(L, 0);
  which = -1;
}

static void on_done_break(lua_State *state, int status, int n, void *ud)
{
  on_done(state, status, n, ud);
  ev_break(ev, EVBREAK_ALL);
}

/* What is resolved, rejected or cancelled just before the poll wakes who waits at once. */
static void test_futures_before_the_poll(void)
{
  for (int verb = 0; verb < 3; verb++) {
    outcome o = {0};
    ev_prepare prepare;
    ev_timer timer;
    which = -1;
    ev = ev_loop_new(EVFLAG_AUTO);
    ev_prepare_init(&prepare, on_late_prepare); /* the earlier one is called later */
    ev_set_priority(&prepare, EV_MINPRI);
    ev_prepare_start(ev, &prepare);
    attach(0);
    push(L, "future = agenda.future() return agenda.await(future)");
    agenda_spawn(L, 0, on_done_break, &o);
    lua_pop(L, 1);
    ev_run(ev, EVRUN_NOWAIT);
    which = verb;
    ev_timer_init(&timer, break_loop, 5, 0);
    ev_timer_start(ev, &timer);
    ev_run(ev, 0);
    CHECK(o.calls == 1 && o.status == (verb == 0 ? LUA_OK : LUA_ERRRUN));
    CHECK(ev_is_active(&timer));
    ev_timer_stop(ev, &timer);
    ev_prepare_stop(ev, &prepare);
    end();
  }
}

static int posts;

static void on_post(lua_State *state, void *again)
{
  (void)state;
  posts++;
  if (again != NULL && posts < 100)
    CHECK(agenda_post(loop, on_post, again) == 0);
}

/* What a posted function posts has its turn later, and is not forgotten. */
static void test_posts_that_post(void)
{
  begin(0);
  CHECK(agenda_post(loop, on_post, &posts) == 0 && agenda_pending(loop) == 1);
  for (int turns = 0; turns < 2; turns++)
    ev_run(ev, EVRUN_NOWAIT);
  CHECK(posts > 0 && posts < 5);
  ev_run(ev, 0);
  CHECK(posts == 100);
  posts = 98; /* the first posts one more, while the second is still there */
  CHECK(agenda_post(loop, on_post, &posts) == 0 && agenda_post(loop, on_post, NULL) == 0);
  ev_run(ev, 0);
  CHECK(posts == 101);
  end();
}

static void on_interrupt(lua_State *state, void *ud)
{
  (void)ud;
  run(state, "local ok, err = pcall(error, agenda.errors.KeyboardInterrupt()) interrupt = err");
  lua_getglobal(state, "interrupt");
  lua_error(state);
}

/* An interrupt comes out of the turn; what was posted after it has its turn then. */
static void test_interrupt_in_a_posted_function(void)
{
  begin(0);
  spawn("agenda.get_running_loop():set_exception_handler(function(_, context)"
        " log[#log + 1] = context.message end)",
        NULL);
  ev_run(ev, 0);
  posts = 0;
  CHECK(agenda_post(loop, on_interrupt, NULL) == 0 && agenda_post(loop, on_post, NULL) == 0);
  ev_run(ev, 0);
  CHECK(posts == 1);
  run(L, "assert(#log == 1 and log[1]:find('come out of a turn'), log[1])");
  end();
}

/* ----- attaching ----------------------------------------------------------------------- */

static int l_attach_here(lua_State *state)
{
  CHECK(agenda_attach(state, ev, 0) == NULL);
  CHECK(strstr(luaL_tolstring(state, -1, NULL), "while an event loop is running") != NULL);
  return 0;
}

static int l_borrow(lua_State *state)
{
  lua_pushboolean(state, agenda_attach(state, NULL, 0) != NULL);
  return 1;
}

static void test_attach_while_a_loop_runs(void)
{
  L = new_state();
  ev = ev_loop_new(EVFLAG_AUTO);
  run(L, "agenda = require 'agenda'");
  lua_register(L, "attach_here", l_attach_here);
  lua_register(L, "borrow", l_borrow);
  run(L, "agenda.run(function() attach_here() assert(borrow()) end)"
         " agenda.run(function() assert(borrow()) end)" /* that of the last run is gone */
         " local first, second = agenda.new_event_loop(), agenda.new_event_loop()"
         " assert(first:run_until_complete(agenda.async(borrow)()))"
         " assert(not second:run_until_complete(agenda.async(borrow)()))" /* the first is open */
         " first:close()"
         " assert(second:run_until_complete(agenda.async(borrow)()))"
         " second:close()");
  lua_close(L);
  ev_loop_destroy(ev);
}

static void test_children_by_signal_need_the_flag(void)
{
  setenv("AGENDA_CHILD_WATCH", "signal", 1);
  for (int flags = 0; flags <= AGENDA_CHILDREN; flags += AGENDA_CHILDREN) {
    outcome o = {0};
    begin(flags);
    spawn("return agenda.subprocess {'true'}:wait()", &o);
    ev_run(ev, 0);
    CHECK(o.status == (flags == 0 ? LUA_ERRRUN : LUA_OK));
    CHECK(flags != 0 || strstr(o.text, "AGENDA_CHILDREN") != NULL);
    end();
  }
}

static const test tests[] = {
  TEST(spawn_of_awaitables),
  TEST(errors_of_futures),
  TEST(await_anywhere),
  TEST(post),
  TEST(post_after_detach),
  TEST(post_after_close),
  TEST(post_wakes),
  TEST(futures_before_the_poll),
  TEST(posts_that_post),
  TEST(interrupt_in_a_posted_function),
  TEST(attach_while_a_loop_runs),
  TEST(children_by_signal_need_the_flag),
};

int main(int argc, char **argv)
{
  return run_tests(tests, sizeof tests / sizeof *tests, argc, argv);
}
