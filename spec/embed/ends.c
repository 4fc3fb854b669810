/*
** ends.c: how what agenda.h attaches comes to its end; spec/embed/api_spec.lua runs it, as api.c.
*/
#include "testing.h"

#include <unistd.h>

static const char *const busy =
  "local function cleanup() agenda.sleep(0.001) log[#log + 1] = 'cleaned' end"
  " local _ <close> = agenda.defer(cleanup)"
  " agenda.sleep(100)";

static const char *const generator =
  "local gen = agenda.asyncgen(function()"
  "   local _ <close> = agenda.defer(function() agenda.sleep(0.001) log[#log + 1] = 'gen' end)"
  "   agenda.yield(1) end)"
  " the_gen = (gen()) agenda.await(the_gen:anext())";

/* ----- the end ------------------------------------------------------------------------- */

static int host_calls;

static void on_host(struct ev_loop *l, ev_timer *timer, int revents)
{
  (void)l, (void)timer, (void)revents;
  host_calls++;
}

static void start_timer(ev_timer *timer, void (*f)(struct ev_loop *, ev_timer *, int), double after)
{
  ev_timer_init(timer, f, after, 0);
  ev_timer_start(ev, timer);
}

static void test_shutdown(void)
{
  outcome o = {0};
  begin(0);
  spawn(busy, &o);
  spawn(generator, NULL);
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(agenda_shutdown(L, 5) == 0);
  CHECK(o.calls == 1 && o.status == LUA_ERRRUN && strcmp(o.text, "CancelledError") == 0);
  run(L, "table.sort(log) assert(log[1] == 'cleaned' and log[2] == 'gen' and #log == 2)");
  CHECK(agenda_pending(loop) == 0 && agenda_shutdown(L, 1) == 0);
  end();
}

/* What a completion gets needs no report. */
static void test_shutdown_reports_once(void)
{
  outcome o = {0};
  begin(0);
  spawn("agenda.get_running_loop():set_exception_handler(function(_, context)"
        " log[#log + 1] = tostring(context.exception) end)",
        NULL);
  spawn("pcall(agenda.sleep, 100) error('told', 0)", &o);
  spawn("pcall(agenda.sleep, 100) error('not told', 0)", NULL);
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(agenda_shutdown(L, 5) == 0);
  CHECK(o.calls == 1 && strcmp(o.text, "told") == 0);
  run(L, "assert(#log == 1 and log[1] == 'not told', table.concat(log, '; '))");
  end();
}

static void test_shutdown_deadline(void)
{
  outcome o = {0};
  begin(0);
  spawn("agenda.get_running_loop():set_exception_handler(function(_, context)"
        " log[#log + 1] = context.message end)",
        NULL);
  spawn("for _ = 1, 9 do pcall(agenda.sleep, 100) end", &o);
  ev_run(ev, EVRUN_NOWAIT);
  usleep(60000); /* the host is busy: the time counts from the call */
  ev_tstamp before = ev_time();
  CHECK(agenda_shutdown(L, 0.05) == 1);
  CHECK(ev_time() - before >= 0.049 && ev_time() - before < 3);
  CHECK(o.calls == 1 && o.status == LUA_ERRRUN);
  run(L, "assert(#log == 1 and log[1]:find('destroyed'), table.concat(log, '; '))");
  end();
}

/* From inside of a callback of the host's, with its loop running. */
static int shutdown_result = -2;

static void on_shutdown(struct ev_loop *l, ev_timer *timer, int revents)
{
  (void)l, (void)timer, (void)revents;
  shutdown_result = agenda_shutdown(L, 5);
}

static void test_shutdown_inside_ev_run(void)
{
  outcome o = {0};
  ev_timer timer, late;
  begin(0);
  spawn(busy, &o);
  ev_timer_init(&timer, on_shutdown, 0.005, 0);
  ev_timer_start(ev, &timer);
  start_timer(&late, on_host, 0.03);
  ev_run(ev, 0);
  CHECK(shutdown_result == 0 && o.calls == 1);
  CHECK(host_calls == 1); /* the host's ev_run went on */
  end();
}

static void test_detach_with_tasks(void)
{
  outcome a = {0}, b = {0};
  begin(0);
  run(L, "agenda.set_warning_handler(function() end)");
  spawn("local _ <close> = agenda.defer(function() log[1] = 'cleaned' end) agenda.sleep(100)", &a);
  spawn("agenda.get_running_loop():set_exception_handler(function() end)"
        " for _ = 1, 9 do pcall(agenda.sleep, 100) end", &b);
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(agenda_detach(L) == 0);
  CHECK(a.calls == 1 && b.calls == 1);
  run(L, "assert(log[1] == 'cleaned')");
  CHECK(lua_gettop(L) == 0);
  end();
}

/* Everybody is told, whatever the exception handler does of those that are dropped. */
static void test_detach_with_an_interrupting_handler(void)
{
  outcome a = {0}, b = {0};
  begin(0);
  run(L, "agenda.set_warning_handler(function(context)"
         " log[#log + 1] = tostring(context.exception) end)");
  spawn("agenda.get_running_loop():set_exception_handler(function()"
        " error(agenda.errors.KeyboardInterrupt('stop')) end)", NULL);
  spawn("for _ = 1, 9 do pcall(agenda.sleep, 100) end", &a);
  spawn("for _ = 1, 9 do pcall(agenda.sleep, 100) end", &b);
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(agenda_shutdown(L, 0.01) == 1);
  CHECK(a.calls == 1 && strcmp(a.text, "CancelledError: the event loop was detached") == 0);
  CHECK(b.calls == 1 && strcmp(b.text, a.text) == 0);
  run(L, "assert(#log == 1 and log[1] == 'KeyboardInterrupt: stop', log[1])");
  end();
}

/* What a host was asked for may be answered after its tasks were dropped. */
static void test_answers_after_detach(void)
{
  enum { RESOLVED = 1, REJECTED, CANCELLED, TASK };
  outcome o[TASK] = {{0}};
  begin(0);
  run(L, "agenda.set_warning_handler(function() end)");
  spawn("agenda.get_running_loop():set_exception_handler(function() end)", NULL);
  for (int i = RESOLVED; i < TASK; i++)
    agenda_future_new(L);
  for (int i = RESOLVED; i < TASK; i++) {
    push(L, "pcall(agenda.sleep, 100) agenda.await(...)");
    lua_pushvalue(L, i);
    agenda_spawn(L, 1, on_done, &o[i]);
  }
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(agenda_shutdown(L, 0.01) == 1);
  CHECK(agenda_future_resolve(L, RESOLVED, 0) == 1);
  lua_pushliteral(L, "late");
  CHECK(agenda_future_reject(L, REJECTED) == 1);
  CHECK(agenda_cancel(L, CANCELLED) == 1 && agenda_cancel(L, TASK) == 0);
  lua_settop(L, 0);
  for (int i = RESOLVED; i < TASK; i++)
    CHECK(o[i].calls == 1);
  end();
}

static void test_close_without_detach(void)
{
  outcome o = {0};
  begin(0);
  spawn("agenda.get_running_loop():set_exception_handler(function() end)"
        " agenda.get_running_loop():add_reader(0, function() end) agenda.sleep(100)", &o);
  spawn(generator, NULL);
  ev_run(ev, EVRUN_NOWAIT);
  lua_close(L);
  CHECK(o.calls == 0);
  ev_run(ev, 0); /* nothing of the library's is left in it */
  ev_loop_destroy(ev);
}

static const char *const slow_cleanup =
  "local function cleanup() agenda.sleep(0.03) log[#log + 1] = 'cleaned' end"
  " local _ <close> = agenda.defer(cleanup)"
  " agenda.sleep(100)";

static int inner;

static void on_shutdown_again(struct ev_loop *l, ev_timer *timer, int revents)
{
  (void)l, (void)timer, (void)revents;
  inner = agenda_shutdown(L, 5);
  CHECK(agenda_detach(L) == -1);
}

/* A shutdown ends with its tasks, whatever the host's loop waits for; there is one at a time. */
static void test_shutdown_among_timers(void)
{
  ev_timer again, far;
  begin(0);
  spawn(slow_cleanup, NULL);
  ev_run(ev, EVRUN_NOWAIT);
  start_timer(&again, on_shutdown_again, 0.005);
  start_timer(&far, break_loop, 20);
  ev_tstamp before = ev_time();
  CHECK(agenda_shutdown(L, 10) == 0 && inner == -1);
  CHECK(ev_time() - before < 5);
  run(L, "assert(log[1] == 'cleaned')");
  ev_timer_stop(ev, &far);
  end();
}

/* A host that breaks its loop during the shutdown means the run that it is in. */
static void test_break_during_shutdown(void)
{
  ev_timer begins, breaks, far;
  begin(0);
  spawn(slow_cleanup, NULL);
  start_timer(&begins, on_shutdown, 0.005);
  start_timer(&breaks, break_loop, 0.01);
  start_timer(&far, break_loop, 20);
  ev_tstamp before = ev_time();
  shutdown_result = -2;
  ev_run(ev, 0);
  CHECK(shutdown_result == 0 && ev_time() - before < 5);
  run(L, "assert(log[1] == 'cleaned')");
  ev_timer_stop(ev, &far);
  end();
}

static void test_detach_runs_nothing_of_the_host(void)
{
  ev_timer timer;
  begin(0);
  run(L, "agenda.set_warning_handler(function() end)");
  spawn("agenda.get_running_loop():set_exception_handler(function() end)", NULL);
  spawn(slow_cleanup, NULL);
  ev_run(ev, EVRUN_NOWAIT);
  start_timer(&timer, on_host, 0);
  CHECK(agenda_detach(L) == 0 && host_calls == 0);
  ev_run(ev, 0);
  CHECK(host_calls == 1);
  end();
}

static void on_spawn_and_detach(struct ev_loop *l, ev_timer *timer, int revents)
{
  (void)l, (void)timer, (void)revents;
  spawn("agenda.sleep(0)", NULL);
  CHECK(agenda_detach(L) == 0);
}

/* What was to keep the next poll from blocking goes, too. */
static void test_detach_leaves_no_watcher(void)
{
  ev_timer timer, host;
  int polls = 0;
  begin(AGENDA_HOLD);
  start_timer(&timer, on_spawn_and_detach, 0.001);
  while (agenda_step(loop, 1) >= 0)
    ;
  start_timer(&host, on_host, 0.03);
  while (ev_is_active(&host) && polls++ < 100)
    ev_run(ev, EVRUN_ONCE);
  CHECK(host_calls == 1 && polls < 10);
  end();
}

static void test_detached_loop_is_no_default(void)
{
  begin(AGENDA_DEFAULT_LOOP);
  run(L, "before = agenda.get_event_loop()");
  CHECK(agenda_detach(L) == 0);
  run(L, "local loop = agenda.get_event_loop() assert(loop ~= before and before:is_closed())"
         " assert(loop:run_until_complete(agenda.async(function() return 3 end)()) == 3)"
         " loop:close() agenda.set_event_loop(nil)");
  lua_close(L);
  ev_loop_destroy(ev);
}

static void test_dropped_posts(void)
{
  begin(0);
  for (int i = 0; i < 10; i++)
    CHECK(agenda_post(loop, on_never, NULL) == 0);
  lua_close(L);
  ev_loop_destroy(ev);
}

/* A host that has not required the Lua layer: it is loaded for the end, or done without. */
static void test_shutdown_without_the_lua_layer(void)
{
  for (int there = 0; there <= 1; there++) {
    outcome o = {0};
    L = new_state();
    ev = ev_loop_new(EVFLAG_AUTO);
    loop = agenda_attach(L, ev, 0);
    CHECK(loop != NULL);
    if (!there)
      run(L, "package.path = '/nowhere/?.lua'");
    run(L, "core = require 'agenda.core'");
    spawn("local g = core.asyncgen(function()"
          "   local ok, err = pcall(core.yield, 1) closed = tostring(err) error(err, 0) end)()"
          " gen = g core.await(g:anext())"
          " local ok, err = pcall(core.await, core.get_running_loop():create_future())"
          " late = core.create_task(core.async(function() core.sleep(0.01) core.sleep(100) end)())"
          " cancelled = tostring(err) error(err, 0)",
          &o);
    ev_run(ev, EVRUN_NOWAIT);
    ev_tstamp before = ev_time();
    CHECK(agenda_shutdown(L, 5) == 0 && o.calls == 1 && ev_time() - before < 3);
    run(L, "assert(cancelled == 'CancelledError' and late:cancelled())");
    if (there)
      run(L, "assert(package.loaded.agenda and closed == 'GeneratorExit')");
    lua_close(L);
    ev_loop_destroy(ev);
  }
}

static const test tests[] = {
  TEST(shutdown),
  TEST(shutdown_reports_once),
  TEST(shutdown_deadline),
  TEST(shutdown_inside_ev_run),
  TEST(detach_with_tasks),
  TEST(detach_with_an_interrupting_handler),
  TEST(answers_after_detach),
  TEST(close_without_detach),
  TEST(shutdown_among_timers),
  TEST(break_during_shutdown),
  TEST(detach_runs_nothing_of_the_host),
  TEST(detach_leaves_no_watcher),
  TEST(detached_loop_is_no_default),
  TEST(dropped_posts),
  TEST(shutdown_without_the_lua_layer),
};

int main(int argc, char **argv)
{
  return run_tests(tests, sizeof tests / sizeof *tests, argc, argv);
}
