/*
** states.c: several Lua states, processes and copies of the library; spec/embed/api_spec.lua runs
** it, as api.c.
*/
#include "testing.h"

#include <sys/wait.h>
#include <unistd.h>

/* ----- several ------------------------------------------------------------------------- */

enum { STATES = 8 };

static void test_states_on_one_loop(void)
{
  lua_State *states[STATES];
  outcome o[STATES] = {{0}};
  ev = ev_loop_new(EVFLAG_AUTO);
  for (int i = 0; i < STATES; i++) {
    states[i] = new_state();
    CHECK(agenda_attach(states[i], ev, 0) != NULL);
    run(states[i], "agenda = require 'agenda'");
    push(states[i], "local r, w = ... local sum = 0"
                    " for i = 1, 20 do agenda.sleep(i % 3 / 1000) sum = sum + r end"
                    " local fut = agenda.future() local loop = agenda.get_running_loop()"
                    " loop:add_writer(1, function() loop:remove_writer(1) fut:set_result() end)"
                    " fut:await() return sum");
    lua_pushinteger(states[i], i);
    agenda_spawn(states[i], 1, on_done, &o[i]);
    lua_settop(states[i], 0);
  }
  ev_timer timer;
  ev_timer_init(&timer, break_loop, 0.01, 0);
  ev_timer_start(ev, &timer);
  ev_run(ev, 0);
  CHECK(agenda_detach(states[3]) == 0); /* one goes early, the others go on */
  lua_close(states[3]);
  ev_run(ev, 0);
  for (int i = 0; i < STATES; i++) {
    CHECK(o[i].calls == 1);
    if (i != 3) {
      CHECK(o[i].status == LUA_OK && o[i].first == 20 * i);
      CHECK(agenda_detach(states[i]) == 0);
      lua_close(states[i]);
    }
  }
  ev_loop_destroy(ev);
}

static void test_fork(void)
{
  outcome parent = {0}, child = {0};
  begin(0);
  spawn("fut = agenda.future() fut:await() log[#log + 1] = 'old' return 1", &parent);
  ev_run(ev, EVRUN_NOWAIT);
  pid_t pid = fork();
  if (pid == 0) {
    ev_loop_fork(ev);
    agenda_loop *fresh = agenda_attach(L, ev, 0);
    CHECK(fresh != NULL);
    spawn("agenda.sleep(0.01) log[#log + 1] = 'new' return 2", &child);
    ev_run(ev, 0);
    CHECK(child.calls == 1 && child.first == 2 && parent.calls == 0);
    run(L, "assert(#log == 1 and log[1] == 'new')");
    end();
    exit(0);
  }
  int status;
  run(L, "fut:set_result()");
  ev_run(ev, 0);
  CHECK(parent.calls == 1 && parent.first == 1);
  CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  end();
}

/* The threads of the parent's loop, idle or at work, are not in the child; it gets its own. */
static void test_fork_with_threads(void)
{
  static const char *const job = "local nap = ... return agenda.to_thread(function(seconds)"
                                 " os.execute('sleep ' .. seconds) return seconds end, nap)";
  outcome parent = {0}, child = {0};
  int status;
  begin(0);
  for (int busy_threads = 0; busy_threads <= 1; busy_threads++) {
    push(L, job);
    lua_pushinteger(L, 0);
    agenda_spawn(L, 1, on_done, &parent);
    ev_run(ev, 0);
    push(L, job);
    lua_pushnumber(L, 0.2);
    if (busy_threads)
      agenda_spawn(L, 1, on_done, &parent);
    lua_settop(L, 0);
    ev_run(ev, EVRUN_NOWAIT);
    usleep(20000); /* the threads have begun, or wait */
    pid_t pid = fork();
    if (pid == 0) {
      alarm(20);
      ev_loop_fork(ev);
      CHECK(agenda_attach(L, ev, 0) != NULL);
      push(L, job);
      lua_pushinteger(L, 0);
      agenda_spawn(L, 1, on_done, &child);
      lua_settop(L, 0);
      ev_run(ev, 0);
      CHECK(child.calls == 1 && child.status == LUA_OK);
      end();
      execlp("true", "true", NULL); /* what the parent's threads had of memory is lost here */
    }
    ev_run(ev, 0);
    CHECK(parent.calls == 1 + 2 * busy_threads && parent.status == LUA_OK);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  end();
}

/* The timers and descriptors that a fork inherits, and lets go, stay the parent's. */
static void test_fork_leaves_the_parent_alone(void)
{
  outcome sleeper = {0}, talker = {0}, child = {0};
  int status;
  begin(0);
  spawn("server = agenda.start_server(function(s) for l in s:lines() do s:write(l, '!\\n') end end,"
        "   '127.0.0.1', 0)"
        " local _, port = server:address() conn = agenda.open_connection('127.0.0.1', port)"
        " conn:write('a\\n') assert(conn:readline() == 'a!') agenda.sleep(0.1) return 1",
        &sleeper);
  while (agenda_step(loop, 0) == 1 && agenda_step(loop, 0.01) == 1)
    if (luaL_dostring(L, "return conn ~= nil") == LUA_OK && lua_toboolean(L, -1))
      break;
  lua_settop(L, 0);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(20);
    ev_loop_fork(ev);
    CHECK(agenda_attach(L, ev, 0) != NULL);
    spawn("agenda.sleep(0.01) return 2", &child);
    ev_run(ev, 0);
    CHECK(child.calls == 1 && child.status == LUA_OK);
    end();
    exit(0);
  }
  CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  while (sleeper.calls == 0)
    CHECK(agenda_step(loop, 5) >= 0);
  CHECK(sleeper.first == 1);
  spawn("conn:write('b\\n') local answer = conn:readline() conn:close() server:close()"
        " server:wait_closed() return answer",
        &talker);
  ev_run(ev, 0);
  CHECK(strcmp(talker.text, "b!") == 0);
  end();
}

/* ----- other modules ------------------------------------------------------------------- */

static void test_import(void)
{
  L = new_state();
  luaL_requiref(L, "agenda.core", luaopen_agenda_core, 0);
  lua_settop(L, 0);
  const agenda_api *api = agenda_import(L);
  CHECK(api != NULL && api->version == AGENDA_API_VERSION && lua_gettop(L) == 0);
  CHECK(api->spawn == agenda_spawn && api->await == agenda_await);
  lua_close(L);
}

/* A host that has a copy of the library linked in, and a state that has loaded another one. */
static void test_other_copy(void)
{
  outcome o = {0};
  L = new_state();
  run(L, "agenda = require 'agenda'");
  ev = ev_loop_new(EVFLAG_AUTO);
  loop = agenda_attach(L, ev, 0);
  CHECK(loop != NULL);
  spawn("agenda.sleep(0.001) return 8", &o);
  agenda_future_new(L);
  CHECK(agenda_cancel(L, -1) == 1);
  CHECK(agenda_future_resolve(L, -1, 0) == 0);
  lua_settop(L, 0);
  CHECK(agenda_pending(loop) == 1 && agenda_step(loop, 0) >= 0);
  ev_run(ev, 0);
  CHECK(o.first == 8);
  agenda_retain(loop);
  CHECK(agenda_shutdown(L, 1) == 0);
  CHECK(agenda_post(loop, on_never, NULL) == -1);
  lua_close(L);
  CHECK(agenda_post(loop, on_never, NULL) == -1);
  agenda_release(loop);
  ev_loop_destroy(ev);
}

static const test tests[] = {
  TEST(states_on_one_loop),
  TEST(fork),
  TEST(fork_with_threads),
  TEST(fork_leaves_the_parent_alone),
  TEST(import),
  TEST(other_copy),
};

int main(int argc, char **argv)
{
  return run_tests(tests, sizeof tests / sizeof *tests, argc, argv);
}
