# agenda: build, test and check. `make help` lists the targets.
#
# Everything made goes below build/:
#   build/agenda/core.so            the module (LUA_CPATH="build/?.so")
#   build/agenda/tls.so             TLS by OpenSSL, loaded when it is used
#   build/obj/                      its objects and header dependencies
#   build/<variant>/agenda/core.so  the same for debug, asan, gc, lint-*, rock
#
# A variant is this Makefile run again with BUILD, CFLAGS and DEFS set; so
# `make all BUILD=build/mine CFLAGS="-O3"` makes one of your own.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BUILD   ?= build
LUA     ?= lua5.4
ifeq ($(origin CC),default)
CC      := gcc
endif
CLANG   ?= clang
LD      ?= ld
OBJCOPY ?= objcopy
AR      ?= ar
JOBS    ?= $(shell nproc 2>/dev/null || echo 1)

PREFIX  ?= /usr/local
LUADIR  ?= $(PREFIX)/share/lua/5.4
LIBDIR  ?= $(PREFIX)/lib/lua/5.4
# For programs in C: libagenda.a and libagenda_tls.a; libagenda.so, which is the module agenda.core by
# another name, so that a host that is linked with it and `require` have the same copy.
CLIBDIR    ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
SONAME     := libagenda.so.0

# Where lua.h is: LUA_INCDIR if given (LuaRocks does), else pkg-config, else Debian's place.
ifdef LUA_INCDIR
LUA_CFLAGS := -I$(LUA_INCDIR)
else
LUA_CFLAGS := $(or $(shell pkg-config --cflags lua5.4 2>/dev/null),-I/usr/include/lua5.4)
endif
EV_CFLAGS  := $(if $(EV_INCDIR),-I$(EV_INCDIR))
EV_LIBS    := $(if $(EV_LIBDIR),-L$(EV_LIBDIR)) -lev
TLS_CFLAGS := $(if $(OPENSSL_INCDIR),-I$(OPENSSL_INCDIR))
LUA_PACKAGE := $(shell pkg-config --exists lua5.4 2>/dev/null && echo lua5.4)
LUA_LIBS   := $(or $(shell pkg-config --libs lua5.4 2>/dev/null),-llua5.4)
TLS_LIBS   := $(if $(OPENSSL_LIBDIR),-L$(OPENSSL_LIBDIR)) -lssl -lcrypto

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef
CFLAGS   ?= -O2 -g
# What the sources need whatever CFLAGS says. DEFS is for variants.
DEFS         ?=
BASE_CFLAGS  := -std=gnu11 -D_GNU_SOURCE -fPIC -fno-plt -fvisibility=hidden -pthread
ALL_CFLAGS    = $(BASE_CFLAGS) $(WARNINGS) $(LUA_CFLAGS) $(EV_CFLAGS) $(TLS_CFLAGS) $(DEFS) $(CFLAGS)
# NB: liblua is not linked in: lua_* are resolved by the host program, or a
# second Lua core would live in the process.
ALL_LDFLAGS   = -shared -pthread $(CFLAGS) -Wl,-z,relro $(LDFLAGS)

# Every src/*.c belongs to agenda.core, but those of agenda.tls.
TLS_SOURCES  := $(wildcard src/tls*.c)
CORE_SOURCES := $(filter-out $(TLS_SOURCES),$(sort $(wildcard src/*.c)))
OBJ          := $(BUILD)/obj
CORE_OBJECTS := $(CORE_SOURCES:src/%.c=$(OBJ)/%.o)
TLS_OBJECTS  := $(TLS_SOURCES:src/%.c=$(OBJ)/%.o)
MODULES      := $(BUILD)/agenda/core.so $(if $(TLS_SOURCES),$(BUILD)/agenda/tls.so)

# -j for the make that a recipe starts, unless one was given already.
SUBMAKE = $(MAKE) $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))
VARIANT = $(SUBMAKE) all BUILD=build/$(1)
# The same with what the specs run.
TESTED  = $(SUBMAKE) all programs BUILD=build/$(1)

# What the specs run with; see script/run_specs.
RUN_SPECS = LUA="$(LUA)" SPEC="$(SPEC)" FILTER="$(FILTER)" TAGS="$(TAGS)" \
            EXCLUDE_TAGS="$(EXCLUDE_TAGS)" script/run_specs

THREAD_SPECS = $(foreach room,threads resolver file,$(wildcard spec/io/$(room)*_spec.lua)) \
               $(wildcard spec/embed/threads_spec.lua)

.PHONY: all
all: $(MODULES) ## build the modules (build/agenda/core.so and tls.so)

# NB: stays loaded when Lua closes: what a host has of a loop outlives the Lua state.
$(BUILD)/agenda/core.so: $(CORE_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -Wl,-soname,$(SONAME) -Wl,-z,nodelete -o $@ $(CORE_OBJECTS) $(EV_LIBS)

$(BUILD)/agenda/tls.so: $(TLS_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(TLS_OBJECTS) $(TLS_LIBS)

# The modules for hosts that are linked statically: one object each, with what agenda.h declares as
# its only names, so that no other meets a host's.
ARCHIVES := $(BUILD)/libagenda.a $(BUILD)/libagenda_tls.a
$(BUILD)/libagenda.a: $(CORE_OBJECTS)
$(BUILD)/libagenda_tls.a: $(TLS_OBJECTS)
$(ARCHIVES):
	$(LD) -r -o $(OBJ)/$(@F:.a=.o) $^
	$(OBJCOPY) --localize-hidden $(OBJ)/$(@F:.a=.o)
	rm -f $@
	$(AR) rcs $@ $(OBJ)/$(@F:.a=.o)

# Programs in C that the library is linked into.
PROGRAM = $(CC) -std=gnu11 -D_GNU_SOURCE -pthread $(WARNINGS) -Wno-unused-parameter -Isrc \
          $(LUA_CFLAGS) $(EV_CFLAGS) $(CFLAGS) -o $@ $< $(BUILD)/libagenda.a $(1) $(LUA_LIBS) \
          $(EV_LIBS) -lm

$(BUILD)/embed/%: spec/embed/%.c $(wildcard spec/embed/*.h) $(BUILD)/libagenda.a src/agenda.h $(OBJ)/flags
	@mkdir -p $(@D)
	$(call PROGRAM)

$(BUILD)/embed/%.so: spec/embed/%.c src/agenda.h $(OBJ)/flags
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -fPIC -pthread $(WARNINGS) -Isrc $(LUA_CFLAGS) $(CFLAGS) -shared -o $@ $<

$(BUILD)/embed/httpd: examples/embed/httpd.c $(BUILD)/libagenda.a src/agenda.h $(OBJ)/flags
	@mkdir -p $(@D)
	$(call PROGRAM,-lhttp_parser)

$(OBJ)/%.o: src/%.c $(OBJ)/flags
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Changes only when the compiler or its flags do; then everything is built anew.
$(OBJ)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@

.PHONY: FORCE
FORCE:

-include $(CORE_OBJECTS:.o=.d) $(TLS_OBJECTS:.o=.d)

PROGRAM_SOURCES := $(wildcard spec/embed/*.c)
PROGRAMS := $(BUILD)/embed/httpd \
            $(patsubst spec/%.c,$(BUILD)/%,$(filter-out %_module.c,$(PROGRAM_SOURCES))) \
            $(patsubst spec/%.c,$(BUILD)/%.so,$(filter %_module.c,$(PROGRAM_SOURCES)))

.PHONY: programs
programs: $(PROGRAMS) $(ARCHIVES) ## build the programs in C that the specs run (build/embed/)

# ---- running -----------------------------------------------------------------

.PHONY: setup
setup: ## install what is missing (Debian: apt-get), or say what is
	@script/setup

.PHONY: debug
debug: ## build with -O0 and the library's own checks (build/debug)
	@$(call VARIANT,debug) CFLAGS="-O0 -g3" DEFS="-DAGENDA_DEBUG_CHECKS"

.PHONY: test
test: ## set up, build, run every spec; SPEC=path, FILTER=name, TAGS=, EXCLUDE_TAGS=
	@script/setup build test portable
	@$(SUBMAKE) all programs
	@PORTABLE=1 $(RUN_SPECS)

.PHONY: test-portable
test-portable: ## the specs that both editions share: core, portable, portable under LuaJIT
	@script/setup build test portable
	@$(SUBMAKE) all
	@SPEC="$(SPEC)" FILTER="$(FILTER)" script/test_portable

.PHONY: test-nginx
test-nginx: ## agenda.portable in a real nginx with ngx_lua, unpacked below build/
	@script/setup test
	@script/test_nginx

.PHONY: test-tarantool
test-tarantool: ## agenda.portable in a real Tarantool, unpacked below build/ if it is not there
	@script/test_tarantool

.PHONY: demo
demo: ## set up, build, follow a live log through a pipeline, serve HTTP to curl
	@script/setup build demo
	@$(SUBMAKE) all
	@script/demo

SNIPPETS = README.md docs/tutorial.md docs/cookbook.md docs/embedding.md \
           $(wildcard docs/reference/*.md)

.PHONY: examples
examples: ## run every example and every snippet of the documents, check what they print
	@script/setup build test
	@$(SUBMAKE) all
	@script/with_tree $(LUA) script/check_examples.lua
	@script/with_tree $(LUA) script/check_snippets.lua $(SNIPPETS)

.PHONY: bench
bench: ## run the benchmarks beside their yardsticks; BENCH=name for one
	@$(SUBMAKE) all programs
	@script/with_tree $(LUA) bench/run.lua $(BENCH)

.PHONY: env
env: ## print the exports that run a script against this tree: eval "$(make -s env)"
	@BUILD="$(BUILD)" script/with_tree

# ---- checks ------------------------------------------------------------------

# Each check says what is wrong and goes on; the target fails if any of them did.
CHECKS = check_layers check_whitespace check_reg_comments check_rockspec check_names

.PHONY: lint
lint: ## gcc and clang with -Werror, luacheck, layers, symbols, names, rockspec, comments, LDoc
	@script/setup build test lint
	@$(call VARIANT,lint-gcc) CC=gcc CFLAGS="-O2 -Werror"
	@$(call VARIANT,lint-clang) CC=$(CLANG) CFLAGS="-O2 -Werror"
	@$(SUBMAKE) all
	@failed=; \
	script/check_luacheck || failed=1; \
	for check in $(CHECKS); do \
	  script/with_tree $(LUA) script/$$check.lua || failed=1; \
	done; \
	script/check_symbols $(MODULES) || failed=1; \
	if command -v ldoc >/dev/null; then script/docs || failed=1; fi; \
	if [ -n "$$failed" ]; then echo "lint: failed" >&2; exit 1; fi; \
	echo "lint: all checks passed"

.PHONY: layers
layers: ## check the includes of src/ against script/layers.txt
	@$(LUA) script/check_layers.lua

.PHONY: asan
asan: ## the specs and the oom scenarios under AddressSanitizer and UBSan
	@script/setup build test
	@$(call TESTED,asan) CC=gcc DEFS="-DAGENDA_DEBUG_CHECKS" CFLAGS="-O1 -g -fno-omit-frame-pointer \
	  -fsanitize=address,undefined -fno-sanitize-recover=all"
	@BUILD=build/asan AGENDA_VARIANT=asan $(RUN_SPECS)
	@BUILD=build/asan AGENDA_VARIANT=asan OOM_STEP=7 CC=gcc script/run_oom

.PHONY: valgrind
valgrind: ## the specs under valgrind's memcheck; those tagged #slow are left out
	@script/setup build test check
	@$(SUBMAKE) all programs
	@AGENDA_VARIANT=valgrind $(RUN_SPECS)

.PHONY: tsan
tsan: ## the specs of what runs on threads under ThreadSanitizer
	@script/setup build test
	@$(call TESTED,tsan) CC=gcc DEFS="-DAGENDA_DEBUG_CHECKS" CFLAGS="-O1 -g -fno-omit-frame-pointer \
	  -fsanitize=thread"
	@gcc -shared -fPIC -o build/tsan/alone.so script/lib/alone.c
	@BUILD=build/tsan AGENDA_VARIANT=tsan LUA="$(LUA)" SPEC="$(or $(SPEC),$(THREAD_SPECS))" \
	  FILTER="$(FILTER)" TAGS="$(TAGS)" EXCLUDE_TAGS="$(EXCLUDE_TAGS)" script/run_specs

.PHONY: gc
gc: ## the specs with a full collection at every allocating helper (build/gc)
	@script/setup build test
	@$(call TESTED,gc) CFLAGS="-O1 -g" DEFS="-DAGENDA_GC_TORTURE -DAGENDA_DEBUG_CHECKS"
	@BUILD=build/gc AGENDA_VARIANT=gc $(RUN_SPECS)

.PHONY: oom
oom: ## every scenario with the n-th allocation failing, n = 1, 2, ...; SCENARIO=name
	@script/setup build
	@$(SUBMAKE) all
	@CC=$(CC) SCENARIO="$(SCENARIO)" script/run_oom

.PHONY: rock
rock: ## install with LuaRocks into a scratch tree, run the specs against that
	@script/setup build test rock
	@LUA="$(LUA)" script/check_rock

# ---- the rest ----------------------------------------------------------------

.PHONY: docs
docs: ## the reference as HTML, made by LDoc from the sources (build/docs)
	@script/setup docs
	@LUA="$(LUA)" script/docs

.PHONY: install
install: all $(ARCHIVES) $(BUILD)/agenda.pc ## copy the library below PREFIX (/usr/local); DESTDIR is honoured
	@for file in $(sort $(shell cd lua && find . -name '*.lua')); do \
	  install -D -m 644 lua/$$file $(DESTDIR)$(LUADIR)/$$file || exit 1; \
	done
	@for module in $(MODULES); do \
	  install -D -m 755 $$module $(DESTDIR)$(LIBDIR)/agenda/$${module##*/} || exit 1; \
	done
	@install -D -m 644 src/agenda.h $(DESTDIR)$(INCLUDEDIR)/agenda.h
	@for archive in $(ARCHIVES); do \
	  install -D -m 644 $$archive $(DESTDIR)$(CLIBDIR)/$${archive##*/} || exit 1; \
	done
	@install -D -m 644 $(BUILD)/agenda.pc $(DESTDIR)$(CLIBDIR)/pkgconfig/agenda.pc
	@ln -sfr $(DESTDIR)$(LIBDIR)/agenda/core.so $(DESTDIR)$(CLIBDIR)/$(SONAME)
	@ln -sf $(SONAME) $(DESTDIR)$(CLIBDIR)/libagenda.so

# For pkg-config; written anew each time, as PREFIX may be another one.
$(BUILD)/agenda.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$(INCLUDEDIR)' 'libdir=$(CLIBDIR)' '' \
	  'Name: agenda' 'Description: an event loop on libev for Lua 5.4, to be embedded in C' \
	  'Version: 0' $(if $(LUA_PACKAGE),'Requires: $(LUA_PACKAGE)') \
	  'Cflags: -I$${includedir}$(if $(LUA_PACKAGE),, $(LUA_CFLAGS))' \
	  'Libs: -L$${libdir} -Wl,-rpath,$${libdir} -lagenda $(EV_LIBS)' \
	  'Libs.private: -lpthread -lm' > $@

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | sort | \
	  while IFS='|' read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done
