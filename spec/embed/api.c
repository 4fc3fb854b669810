/*
** api.c: each function of agenda.h, called by a host in C; spec/embed/api_spec.lua runs it.
**
**   api NAME    runs one test; prints what went wrong, if anything
**   api         lists the names
*/
#include "testing.h"

#include <unistd.h>

static const char *const generator =
  "local gen = agenda.asyncgen(function()"
  "   local _ <close> = agenda.defer(function() agenda.sleep(0.001) log[#log + 1] = 'gen' end)"
  "   agenda.yield(1) end)"
  " the_gen = (gen()) agenda.await(the_gen:anext())";

/* ----- attaching and running ----------------------------------------------------------- */

static void test_runs_with_plain_ev_run(void)
{
  outcome o = {0};
  begin(0);
  spawn("for i = 1, 3 do agenda.sleep(0.001) end return 7, 8", &o);
  CHECK(o.calls == 0 && agenda_pending(loop) == 1);
  ev_run(ev, 0); /* returns as nothing is left to do */
  CHECK(o.calls == 1 && o.status == LUA_OK && o.n == 2 && o.top == 2 && o.first == 7);
  CHECK(agenda_pending(loop) == 0);
  end();
}

static void test_sees_the_loop_in_tasks(void)
{
  outcome o = {0};
  begin(0);
  run(L, "assert(not pcall(agenda.get_running_loop))");
  spawn("local loop = agenda.get_running_loop() assert(loop:is_running())"
        " assert(agenda.current_task()) assert(agenda.get_event_loop() == loop)"
        " for _, f in ipairs {'run_forever', 'run_once', 'stop', 'close'} do"
        "   local ok, err = pcall(loop[f], loop)"
        "   assert(not ok and agenda.errors.RuntimeError:is(err), f)"
        " end"
        " local ok, err = pcall(agenda.run, function() end)"
        " assert(tostring(err):find('cannot be called from a running event loop'))"
        " the_loop = loop return 1",
        &o);
  ev_run(ev, 0);
  CHECK(strcmp(o.text, "1") == 0);
  run(L, "local ok, err = pcall(the_loop.run_forever, the_loop)"
         " assert(not ok and tostring(err):find('attached'), err)"
         " ok, err = pcall(the_loop.stop, the_loop) assert(tostring(err):find('attached'))"
         " ok, err = pcall(the_loop.close, the_loop) assert(tostring(err):find('attached'))");
  run(L, "assert(agenda.run(function() agenda.sleep(0.001) return 5 end) == 5)");
  end();
}

/* The host's own watchers go on while tasks are busy. */
static int host_ticks;

static void on_tick(struct ev_loop *l, ev_timer *timer, int revents)
{
  (void)revents;
  if (++host_ticks == 5)
    ev_timer_stop(l, timer);
}

static void test_shares_the_loop_with_the_host(void)
{
  outcome o = {0};
  ev_timer tick;
  begin(0);
  ev_timer_init(&tick, on_tick, 0.001, 0.001);
  ev_timer_start(ev, &tick);
  spawn("while not stop do agenda.sleep(0) end return 3", &o);
  push(L, "agenda.sleep(0.05) stop = true");
  agenda_spawn(L, 0, NULL, NULL);
  lua_pop(L, 1);
  ev_run(ev, 0);
  CHECK(host_ticks == 5 && o.first == 3);
  end();
}

static void test_hold_keeps_ev_run(void)
{
  ev_timer timer;
  begin(AGENDA_HOLD);
  ev_timer_init(&timer, break_loop, 0.02, 0);
  ev_timer_start(ev, &timer);
  ev_unref(ev);
  ev_run(ev, 0);
  CHECK(!ev_is_active(&timer)); /* it ran until then */
  ev_ref(ev);
  end();
}

static void test_default_loop(void)
{
  begin(AGENDA_DEFAULT_LOOP);
  run(L, "host_loop = agenda.get_event_loop()"
         " fut = host_loop:create_future()"
         " t = host_loop:create_task(function() return agenda.await(fut) end)"
         " host_loop:call_soon(function() fut:set_result('x') end)");
  ev_run(ev, 0);
  run(L, "assert(t:result() == 'x')");
  end();
  begin(0);
  run(L, "local l = agenda.get_event_loop() assert(not pcall(l.get_running_loop)) l:close()"
         " agenda.set_event_loop(nil)");
  end();
}

static void test_takes_no_signal(void)
{
  outcome o = {0};
  begin(0);
  spawn("local loop = agenda.get_running_loop()"
        " local ok, err = pcall(loop.add_signal_handler, loop, 'SIGUSR1', print)"
        " assert(not ok and agenda.errors.RuntimeError:is(err)) return 1",
        &o);
  ev_run(ev, 0);
  CHECK(o.first == 1);
  end();
  begin(AGENDA_SIGNALS);
  spawn("local loop = agenda.get_running_loop()"
        " loop:add_signal_handler('SIGUSR1', function() got = true end)"
        " while not got do agenda.sleep(0.001) end loop:remove_signal_handler('SIGUSR1') return 2",
        &o);
  ev_run(ev, EVRUN_NOWAIT);
  kill(getpid(), SIGUSR1);
  ev_run(ev, 0);
  CHECK(o.first == 2);
  end();
}

static void test_attach_twice(void)
{
  begin(0);
  CHECK(agenda_attach(L, ev, 0) == NULL);
  CHECK(strstr(luaL_tolstring(L, -1, NULL), "attached already") != NULL);
  lua_settop(L, 0);
  CHECK(agenda_detach(L) == 0 && agenda_detach(L) == 0);
  loop = agenda_attach(L, ev, 0);
  CHECK(loop != NULL);
  outcome o = {0};
  spawn("agenda.sleep(0.001) return 4", &o);
  ev_run(ev, 0);
  CHECK(o.first == 4);
  end();
}

static void test_step(void)
{
  outcome o = {0};
  L = new_state();
  loop = agenda_attach(L, NULL, 0);
  CHECK(loop != NULL);
  run(L, "agenda = require 'agenda'");
  CHECK(agenda_pending(loop) == 0 && agenda_step(loop, 0) == 0 && agenda_step(loop, -1) == 0);
  spawn("for _ = 1, 3 do agenda.sleep(0.002) end return 9", &o);
  CHECK(agenda_step(loop, 0) == 1 && o.calls == 0);
  int steps = 0;
  while (agenda_pending(loop)) {
    CHECK(agenda_step(loop, -1) >= 0);
    CHECK(++steps < 100);
  }
  CHECK(o.calls == 1 && o.first == 9);
  spawn("agenda.sleep(5)", NULL);
  CHECK(agenda_step(loop, 0) == 1);
  usleep(30000); /* the host is busy: the step counts its time from its own beginning */
  ev_tstamp before = ev_time();
  CHECK(agenda_step(loop, 0.02) == 1);
  CHECK(ev_time() - before >= 0.019 && ev_time() - before < 3);
  CHECK(agenda_detach(L) == 0);
  CHECK(agenda_step(loop, 0) == -1 && agenda_pending(loop) == 0);
  lua_close(L);
}

static int l_misuse(lua_State *state)
{
  CHECK(agenda_step(loop, 0) == -1);
  CHECK(agenda_detach(state) == -1 && agenda_shutdown(state, 1) == -1);
  CHECK(agenda_attach(state, ev, 0) == NULL);
  CHECK(agenda_attach(state, NULL, 0) == loop);
  CHECK(agenda_pending(loop) == 1);
  return 0;
}

static void test_in_a_turn(void)
{
  outcome o = {0};
  begin(0);
  lua_register(L, "misuse", l_misuse);
  spawn("misuse() return 1", &o);
  ev_run(ev, 0);
  CHECK(o.first == 1);
  end();
}

/* All that waits for descriptors, threads and children does so on the host's loop. Where there are
** no pidfds (under valgrind), children need SIGCHLD. */
static void test_input_and_output(void)
{
  outcome o = {0};
  begin(getenv("AGENDA_CHILD_WATCH") != NULL ? AGENDA_CHILDREN : 0);
  spawn("local server = agenda.start_server(function(s) s:write((s:readline()):upper(), '\\n') end,"
        "   '127.0.0.1', 0)"
        " local _, port = server:address()"
        " local s <close> = agenda.open_connection('127.0.0.1', port)"
        " s:write('hello\\n') log[1] = s:readline() server:close()"
        " log[2] = agenda.to_thread(function(x) return x * 2 end, 21)"
        " log[3] = agenda.subprocess {'sh', '-c', 'exit 3'}:wait()"
        " log[4] = agenda.read_file('/proc/self/comm')",
        &o);
  ev_run(ev, 0);
  CHECK(o.calls == 1 && (o.status == LUA_OK || fprintf(stderr, "%s\n", o.text) < 0));
  run(L, "assert(log[1] == 'HELLO' and log[2] == 42 and log[3] == 3 and #log[4] > 0)");
  CHECK(agenda_shutdown(L, 5) == 0);
  end();
}

static void test_cleanup_of_dropped_generators(void)
{
  outcome o = {0};
  begin(0);
  spawn(generator, &o);
  ev_run(ev, 0);
  run(L, "the_gen = nil");
  lua_gc(L, LUA_GCCOLLECT, 0); /* outside of a turn */
  lua_gc(L, LUA_GCCOLLECT, 0);
  CHECK(agenda_pending(loop) == 1);
  ev_run(ev, 0);
  run(L, "assert(log[1] == 'gen') log = {}");
  spawn(generator, &o);
  spawn("agenda.sleep(0.001) the_gen = nil collectgarbage() collectgarbage()", NULL);
  ev_run(ev, 0);
  run(L, "assert(log[1] == 'gen')");
  end();
}

static void test_debug_mode(void)
{
  setenv("AGENDA_DEBUG", "1", 1);
  begin(0);
  spawn("local loop = agenda.get_running_loop() assert(loop:get_debug())"
        " loop.slow_callback_duration = 0.01"
        " loop:set_exception_handler(function(_, context) log[#log + 1] = context.message end)"
        " local t = os.clock() while os.clock() - t < 0.02 do end",
        NULL);
  ev_run(ev, 0);
  spawn("error('x')", NULL);
  ev_run(ev, 0);
  run(L, "local all = table.concat(log)"
         " assert(all:find('took') and all:find('nobody awaits'), all)");
  end();
}

static void on_done_break(lua_State *state, int status, int n, void *ud)
{
  on_done(state, status, n, ud);
  ev_break(ev, EVBREAK_ALL);
}

static void on_host_prepare(struct ev_loop *l, ev_prepare *prepare, int revents)
{
  (void)l, (void)revents;
  if (host_ticks++ > 0)
    return;
  push(L, "return 11");
  agenda_spawn(L, 0, on_done_break, prepare->data);
  lua_pop(L, 1);
}

/* What a callback schedules just before the poll does not wait for the poll to end. */
static void test_spawn_before_the_poll(void)
{
  outcome o = {0};
  ev_prepare first, last; /* before the library's own, and after */
  ev_timer timer;
  ev = ev_loop_new(EVFLAG_AUTO);
  ev_prepare_init(&first, on_host_prepare);
  ev_set_priority(&first, EV_MINPRI);
  first.data = &o;
  ev_prepare_start(ev, &first);
  host_ticks = 1;
  attach(0);
  ev_timer_init(&timer, break_loop, 5, 0);
  ev_timer_start(ev, &timer);
  ev_prepare_init(&last, on_host_prepare);
  ev_set_priority(&last, EV_MINPRI);
  last.data = &o;
  ev_prepare_start(ev, &last);
  for (int i = 0; i < 2; i++) {
    (i == 0 ? ev_prepare_stop : ev_prepare_start)(ev, &first);
    (i == 0 ? ev_prepare_start : ev_prepare_stop)(ev, &last);
    host_ticks = 0;
    ev_run(ev, 0);
    CHECK(o.calls == i + 1 && o.first == 11 && ev_is_active(&timer));
  }
  ev_prepare_stop(ev, &first);
  ev_timer_stop(ev, &timer);
  end();
}

static int l_run_the_loop(lua_State *state)
{
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(agenda_step(loop, 0) == -1);
  lua_pushinteger(state, 1);
  return 1;
}

/* A function that Lua calls in a task may run the host's loop: no turn begins inside of a turn. */
static void test_ev_run_inside_a_task(void)
{
  outcome o = {0};
  begin(0);
  lua_register(L, "run_the_loop", l_run_the_loop);
  spawn("agenda.spawn(function() log[#log + 1] = 'other' end)"
        " run_the_loop() assert(#log == 0) agenda.sleep(0) assert(#log == 1) return 5",
        &o);
  ev_run(ev, 0);
  CHECK(o.first == 5);
  end();
}

static int polls;

static int l_poll(lua_State *state)
{
  ev_timer timer;
  ev_timer_init(&timer, on_tick, 0.03, 0);
  host_ticks = 0;
  usleep(5000);
  ev_now_update(ev);
  ev_timer_start(ev, &timer);
  while (ev_is_active(&timer) && polls++ < 100)
    ev_run(ev, EVRUN_ONCE);
  ev_timer_stop(ev, &timer);
  return 0;
}

/* Nor does what is due meanwhile keep such a run busy. */
static void test_ev_run_inside_a_task_blocks(void)
{
  outcome o = {0};
  begin(0);
  lua_register(L, "poll", l_poll);
  spawn("agenda.sleep(0.001) log[#log + 1] = 'due'", NULL);
  spawn("agenda.sleep(0) poll() assert(#log == 0) agenda.sleep(0.001) assert(#log == 1) return 6",
        &o);
  ev_run(ev, 0);
  CHECK(o.first == 6 && host_ticks == 1 && polls < 10);
  end();
}

static void test_opening_leaves_the_module_alone(void)
{
  L = new_state();
  for (int i = 1; i <= 2; i++)
    CHECK(luaopen_agenda_core(L) == 1 && lua_gettop(L) == i && lua_istable(L, -1));
  CHECK(lua_rawequal(L, 1, 2));
  lua_close(L);
}

static void test_no_loop(void)
{
  CHECK(agenda_step(NULL, 0) == -1 && agenda_pending(NULL) == 0);
  CHECK(agenda_post(NULL, on_never, NULL) == -1 && agenda_retain(NULL) == NULL);
  agenda_release(NULL);
}

/* ----- tasks --------------------------------------------------------------------------- */

static void test_spawn_arguments_and_errors(void)
{
  outcome a = {0}, b = {0}, c = {0};
  begin(0);
  lua_pushinteger(L, 99);
  push(L, "return select('#', ...), ...");
  lua_pushinteger(L, 5);
  lua_pushnil(L);
  agenda_spawn(L, 2, on_done, &a);
  CHECK(lua_gettop(L) == 2 && lua_tointeger(L, 1) == 99);
  CHECK(strncmp(luaL_tolstring(L, 2, NULL), "<task", 5) == 0);
  lua_settop(L, 0);
  spawn("error('oops', 0)", &b);
  spawn("error(agenda.errors.ValueError('bad'))", &c);
  ev_run(ev, 0);
  CHECK(a.status == LUA_OK && a.n == 3 && a.first == 2);
  CHECK(b.status == LUA_ERRRUN && b.n == 1 && strcmp(b.text, "oops") == 0);
  CHECK(c.status == LUA_ERRRUN && strcmp(c.text, "ValueError: bad") == 0);
  end();
}

static int l_spawn_a_number(lua_State *state)
{
  lua_pushinteger(state, 1);
  agenda_spawn(state, 0, NULL, NULL);
  return 0;
}

static void test_spawn_refuses(void)
{
  begin(0);
  lua_pushcfunction(L, l_spawn_a_number);
  CHECK(lua_pcall(L, 0, 0, 0) == LUA_ERRRUN);
  CHECK(strstr(luaL_tolstring(L, -1, NULL), "argument 1 is not awaitable") != NULL);
  lua_settop(L, 0);
  CHECK(agenda_detach(L) == 0);
  lua_pushcfunction(L, l_spawn_a_number);
  CHECK(lua_pcall(L, 0, 0, 0) == LUA_ERRRUN);
  CHECK(strstr(luaL_tolstring(L, -1, NULL), "no running event loop") != NULL);
  lua_settop(L, 0);
  end();
}

static void test_cancel(void)
{
  outcome a = {0}, b = {0};
  begin(0);
  push(L, "local _ <close> = setmetatable({}, {__close = function() cleaned = true end})"
          " agenda.sleep(100)");
  agenda_spawn(L, 0, on_done, &a);
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(agenda_cancel(L, -1) == 1);
  ev_run(ev, 0);
  CHECK(a.calls == 1 && a.status == LUA_ERRRUN && strcmp(a.text, "CancelledError") == 0);
  run(L, "assert(cleaned)");
  CHECK(agenda_cancel(L, 1) == 0); /* it is done */
  lua_settop(L, 0);
  push(L, "never = true");
  agenda_spawn(L, 0, on_done, &b);
  CHECK(agenda_cancel(L, 1) == 1);
  lua_settop(L, 0);
  ev_run(ev, 0);
  CHECK(b.calls == 1 && b.status == LUA_ERRRUN);
  run(L, "assert(not never)");
  end();
}

static void on_done_raises(lua_State *state, int status, int n, void *ud)
{
  (void)status, (void)n;
  ++*(int *)ud;
  luaL_error(state, "from done");
}

static void test_errors_go_to_the_handler(void)
{
  int calls = 0;
  begin(0);
  push(L, "agenda.get_running_loop():set_exception_handler(function(_, context)"
          " log[#log + 1] = tostring(context.exception) end)");
  agenda_spawn(L, 0, on_done_raises, &calls);
  lua_pop(L, 1);
  ev_run(ev, 0);
  spawn("error('nobody asks', 0)", NULL);
  ev_run(ev, 0);
  lua_gc(L, LUA_GCCOLLECT, 0);
  spawn("error(agenda.errors.KeyboardInterrupt('stop'))", NULL);
  ev_run(ev, 0);
  CHECK(calls == 1);
  run(L, "assert(log[1]:find('from done')) assert(log[2] == 'nobody asks')"
         " assert(log[3] == 'KeyboardInterrupt: stop', log[3]) assert(#log == 3)");
  end();
}

/* A task with a completion is kept, though nothing in Lua holds it. */
static void test_completion_keeps_the_task(void)
{
  outcome o = {0};
  begin(0);
  spawn("return agenda.await(agenda.future())", &o);
  ev_run(ev, EVRUN_NOWAIT);
  lua_gc(L, LUA_GCCOLLECT, 0);
  lua_gc(L, LUA_GCCOLLECT, 0);
  for (int turns = 0; turns < 3; turns++)
    ev_run(ev, EVRUN_NOWAIT);
  CHECK(o.calls == 0 && agenda_pending(loop) == 1);
  end();
  CHECK(o.calls == 1 && o.status == LUA_ERRRUN);
}

/* ----- awaitables ---------------------------------------------------------------------- */

static void test_futures(void)
{
  outcome o = {0};
  begin(0);
  agenda_future_new(L); /* outside of a turn: of the attached loop */
  lua_pushvalue(L, 1);
  lua_setglobal(L, "fut");
  spawn("local a, b, c = agenda.await(fut) assert(select('#', agenda.await(fut)) == 3)"
        " assert(b == nil) return a + c",
        &o);
  ev_run(ev, EVRUN_NOWAIT);
  lua_pushinteger(L, 1);
  lua_pushnil(L);
  lua_pushinteger(L, 2);
  CHECK(agenda_future_resolve(L, 1, 3) == 1 && lua_gettop(L) == 1);
  ev_run(ev, 0);
  CHECK(o.first == 3);
  CHECK(agenda_future_resolve(L, 1, 0) == 0 && lua_gettop(L) == 1);
  lua_pushliteral(L, "late");
  CHECK(agenda_future_reject(L, 1) == 0 && lua_gettop(L) == 1);
  lua_settop(L, 0);
  agenda_future_new(L);
  lua_pushvalue(L, 1);
  lua_setglobal(L, "fut");
  spawn("agenda.await(fut)", &o);
  ev_run(ev, EVRUN_NOWAIT);
  lua_pushliteral(L, "no luck");
  CHECK(agenda_future_reject(L, -2) == 1 && lua_gettop(L) == 1);
  ev_run(ev, 0);
  CHECK(o.calls == 2 && o.status == LUA_ERRRUN && strcmp(o.text, "no luck") == 0);
  lua_settop(L, 0);
  agenda_future_new(L);
  CHECK(agenda_cancel(L, 1) == 1 && agenda_cancel(L, 1) == 0);
  CHECK(agenda_future_resolve(L, 1, 0) == 0);
  lua_settop(L, 0);
  end();
}

static int after_await(lua_State *state, int status, lua_KContext ctx)
{
  CHECK(status == LUA_YIELD || status == LUA_OK);
  CHECK(lua_tointeger(state, 2) == 42); /* what was on the stack still is */
  lua_pushinteger(state, (lua_Integer)ctx + status);
  return lua_gettop(state) - 2;
}

static int l_wait(lua_State *state)
{
  lua_settop(state, 1);
  lua_pushinteger(state, 42);
  return agenda_await(state, 1, 1000, after_await);
}

static int l_wait_plainly(lua_State *state)
{
  return agenda_await(state, -1, 0, NULL);
}

static void test_await(void)
{
  outcome o = {0};
  begin(0);
  lua_register(L, "wait", l_wait);
  lua_register(L, "wait_plainly", l_wait_plainly);
  spawn("local t = agenda.spawn(function() agenda.sleep(0.001) return 'a', 'b' end)"
        " local a, b, n = wait(t) assert(a == 'a' and b == 'b' and n == 1001)"
        " a, b, n = wait(t) assert(a == 'a' and b == 'b' and n == 1000)"
        " local co = agenda.async(function() agenda.sleep(0) return 5, nil end)"
        " assert(select('#', wait_plainly(1, 2, co())) == 2)"
        " assert(select('#', wait_plainly(1, 2, t)) == 2)"
        " local ok, err = pcall(wait, agenda.spawn(function() agenda.sleep(0) error('x', 0) end))"
        " assert(not ok and err == 'x')"
        " assert(not pcall(wait, 17))"
        " local me = agenda.spawn(function() wait(agenda.future()) end)"
        " agenda.sleep(0) me:cancel() local ok, err = pcall(agenda.await, me)"
        " assert(agenda.errors.CancelledError:is(err))"
        " return 6",
        &o);
  ev_run(ev, 0);
  CHECK(o.status == LUA_OK && o.first == 6);
  run(L, "local ok, err = pcall(wait, agenda.future())"
         " assert(not ok and agenda.errors.RuntimeError:is(err))");
  end();
}

static const test tests[] = {
  TEST(runs_with_plain_ev_run),
  TEST(sees_the_loop_in_tasks),
  TEST(shares_the_loop_with_the_host),
  TEST(hold_keeps_ev_run),
  TEST(default_loop),
  TEST(takes_no_signal),
  TEST(attach_twice),
  TEST(step),
  TEST(in_a_turn),
  TEST(input_and_output),
  TEST(cleanup_of_dropped_generators),
  TEST(debug_mode),
  TEST(spawn_before_the_poll),
  TEST(ev_run_inside_a_task),
  TEST(ev_run_inside_a_task_blocks),
  TEST(opening_leaves_the_module_alone),
  TEST(no_loop),
  TEST(spawn_arguments_and_errors),
  TEST(spawn_refuses),
  TEST(cancel),
  TEST(errors_go_to_the_handler),
  TEST(completion_keeps_the_task),
  TEST(futures),
  TEST(await),
};

int main(int argc, char **argv)
{
  return run_tests(tests, sizeof tests / sizeof *tests, argc, argv);
}
