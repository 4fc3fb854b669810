std = "lua54"
max_line_length = 100
cache = true
codes = true

-- An argument or variable whose name begins with _ is not used on purpose.
ignore = {"21[123]/_.*"}

files["spec"] = {
  std = "+busted",
  max_line_length = 120,
  -- Specs of what the collector does hold on to values, or let go of them, and nothing else.
  ignore = {"231", "241", "311", "431", "432", "542"},
}
files["examples/tarantool"] = {std = "luajit"}
files["spec/portable/tarantool"] = {std = "luajit"}
files["spec/portable/nginx"] = {std = "ngx_lua"}
files["examples/openresty"] = {std = "ngx_lua"}
files["config.ld"] = {std = "+ldoc"}
files[".busted"] = {std = "lua54"}
