# The only makefile. `make help` lists the targets. Objects of each configuration live side by side
# under build/, so that release, sanitizer and wasm builds never need a `clean` between them.

CONFIG ?= release
CC ?= cc
ifeq ($(CONFIG),asan)
CFLAGS ?= -O1 -g
else
CFLAGS ?= -O2 -g
endif
LDFLAGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
SLM_SHARED ?= ../shared
FUZZ_SECONDS ?= 60
JOBS ?= $(shell nproc)
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

VERSION := $(shell sed -n 's/^\#define SLM_VERSION "\(.*\)"/\1/p' runtime/include/slm.h)
ARCH := $(shell uname -m)

# ---- Flags: CFLAGS and LDFLAGS are the user's; what correctness needs is kept apart --------------
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
NUMERICS := -ffp-contract=off -fno-fast-math -fno-math-errno
REQUIRED := -std=c11 -D_POSIX_C_SOURCE=200809L $(NUMERICS) -pthread $(WARNINGS) -MMD -MP
ifeq ($(CONFIG),asan)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ifeq ($(CONFIG),fuzz)
CC := $(shell command -v clang-19 || command -v clang)
SANITIZE := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
endif
RUNTIME_INC := -Iruntime/include -Iruntime
TOOLS_INC := $(RUNTIME_INC) -Itools -D_GNU_SOURCE
LIBS := -ljansson -lsqlite3 -lz -lm

B := build/$(CONFIG)
ifeq ($(CONFIG),release)
BIN := bin
else
BIN := $(B)/bin
endif

# ---- Sources -------------------------------------------------------------------------------------
PORTABLE_SRC := $(wildcard runtime/base/*.c runtime/format/*.c runtime/text/*.c \
    runtime/model/*.c runtime/state/*.c runtime/decode/*.c) \
    $(filter-out %_avx2.c %_avx512.c,$(wildcard runtime/quant/*.c)) \
    $(wildcard runtime/kernels/ref.c runtime/kernels/kv.c runtime/kernels/select.c)
RUNTIME_SRC := $(PORTABLE_SRC) runtime/port/pace.c runtime/port/team.c \
    runtime/port/posix.c
ifeq ($(ARCH),x86_64)
RUNTIME_SRC += $(addprefix runtime/kernels/,avx2.c avxvnni.c avx512.c) \
    $(addprefix runtime/quant/,search_avx2.c search_avx512.c)
endif
ifeq ($(ARCH),aarch64)
RUNTIME_SRC += $(addprefix runtime/kernels/,neon.c neon_dot.c)
endif
RUNTIME_OBJ := $(RUNTIME_SRC:%.c=$(B)/%.o)
LIB := $(B)/libslm.a

TOOLS_LIB_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tools/lib/*.c))
TOOL_SRC := $(wildcard tools/slm_*.c)
TOOLS := $(patsubst tools/slm_%.c,$(BIN)/slm-%,$(TOOL_SRC))

UNIT_TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
KERNEL_TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/kernels/check_*.c))
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAY := $(FUZZ_NAMES:%=$(B)/tests/fuzz/replay_%)
FUZZERS := $(FUZZ_NAMES:%=$(B)/tests/fuzz/fuzz_%)

C_FILES = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h')
SCRIPTS = $(shell git ls-files --cached --others --exclude-standard '*.sh' .ci/run)

.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all tests demo gate test test-unit test-kernels test-cli test-golden test-fuzz test-web \
    test-surface asan bench fuzz fuzzers wasm dist serve lint format install uninstall clean help

all: $(TOOLS) $(LIB) ## build every command into bin/
tests: all $(UNIT_TESTS) $(KERNEL_TESTS) $(FUZZ_REPLAY)

# ---- Native --------------------------------------------------------------------------------------
$(B)/runtime/kernels/avx2.o: ISA := -mavx2 -mf16c
$(B)/runtime/kernels/avxvnni.o: ISA := -mavx2 -mf16c -mavxvnni
$(B)/runtime/kernels/neon_dot.o: ISA := -march=armv8.2-a+dotprod
$(B)/runtime/kernels/avx512.o: ISA := -mavx2 -mf16c -mavx512f -mavx512bw -mavx512dq \
    -mavx512vl -mavx512vnni
$(B)/runtime/quant/search_avx2.o: ISA := -mavx2
$(B)/runtime/quant/search_avx512.o: ISA := -mavx2 -mavx512f -mavx512bw -mavx512dq -mavx512vl
$(B)/runtime/quant/search_%.o: CFLAGS := $(patsubst -O2,-O3,$(CFLAGS))
$(B)/runtime/kernels/%.o: CFLAGS := $(patsubst -O2,-O3,$(CFLAGS))

$(B)/runtime/%.o: runtime/%.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS) $(REQUIRED) $(SANITIZE) $(ISA) $(RUNTIME_INC) -c $< -o $@

$(B)/tools/%.o: tools/%.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS) $(REQUIRED) $(SANITIZE) $(TOOLS_INC) -c $< -o $@

$(B)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS) $(REQUIRED) $(SANITIZE) $(ISA) $(TOOLS_INC) -Itests -c $< -o $@

$(LIB): $(RUNTIME_OBJ)
	$(if $(Q),@echo "  AR    $@")
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/libtools.a: $(TOOLS_LIB_OBJ)
	$(if $(Q),@echo "  AR    $@")
	$(Q)rm -f $@ && $(AR) rcs $@ $^

LINK = $(Q)$(CC) $(CFLAGS) $(SANITIZE) -pthread $(LDFLAGS) -o $@ $^ $(LIBS)

$(BIN)/slm-%: $(B)/tools/slm_%.o $(B)/libtools.a $(LIB)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LD    $@")
	$(LINK)

$(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(B)/libtools.a $(LIB)
	$(if $(Q),@echo "  LD    $@")
	$(LINK)

$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/libtools.a $(LIB)
	$(if $(Q),@echo "  LD    $@")
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -fsanitize=fuzzer -pthread $(LDFLAGS) -o $@ $^ $(LIBS)

# Kernels alone: needs no library, so that it can be built for other processors.
ifeq ($(ARCH),x86_64)
$(B)/tests/kernels/evex.o: ISA := -mavx2 -mf16c -mavx512f -mavx512vl -mavx512vnni
$(B)/tests/kernels/check_kernels: $(B)/tests/kernels/evex.o
endif
$(B)/tests/kernels/%: $(B)/tests/kernels/%.o $(LIB)
	$(if $(Q),@echo "  LD    $@")
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -pthread $(LDFLAGS) -o $@ $^ -lm

$(B)/tests/%: $(B)/tests/%.o $(B)/libtools.a $(LIB)
	$(if $(Q),@echo "  LD    $@")
	$(LINK)

# ---- WebAssembly ---------------------------------------------------------------------------------
# Linked by wasm-ld itself: clang as the link driver runs whatever wasm-opt is on the PATH, and
# Debian 12's breaks modules. There is no C library; runtime/port/freestanding and wasm.c stand in.
ifdef WASI_SDK_PATH
WASM_CC ?= $(WASI_SDK_PATH)/bin/clang
WASM_LD ?= $(WASI_SDK_PATH)/bin/wasm-ld
else
WASM_CC ?= $(shell command -v clang-19 || command -v clang || echo clang-19)
WASM_LD ?= $(shell command -v wasm-ld-19 || command -v wasm-ld || echo wasm-ld-19)
endif
W := build/wasm
WASM_CFLAGS := --target=wasm32 -msimd128 -mbulk-memory -msign-ext -mnontrapping-fptoint -std=c11 \
    -ffreestanding -nostdlibinc -fvisibility=hidden -ffunction-sections -fdata-sections \
    -isystem runtime/port/freestanding -DNDEBUG -DSLM_SHORT_ERRORS $(NUMERICS) $(WARNINGS) -MMD -MP
WASM_LDFLAGS := --no-entry --strip-all --gc-sections --stack-first -z stack-size=262144 \
    --compress-relocations -O2 --lto-O2
# The maximum is what a memory may have at most; slm.js makes it as small as the model allows.
WASM_SHARED := --import-memory --shared-memory --initial-memory=1048576 --max-memory=4294967296 \
    --export=__stack_pointer

# A module for each kind of kernels and of memory: slm.wasm (SIMD128), slm-relaxed16.wasm and
# slm-relaxed32.wasm, each with -threads too. Objects lie in one/ or threads/, by memory.
WASM_SRC := $(filter-out runtime/kernels/ref.c runtime/kernels/select.c,$(PORTABLE_SRC)) \
    runtime/port/wasm.c runtime/web/exports.c
WASM_KERNELS := simd128 relaxed16 relaxed32
WASM_one := $(WASM_SRC) runtime/port/wasm_one.c
WASM_threads := $(WASM_SRC) $(addprefix runtime/port/,team.c pace.c wasm_threads.c)
FLAGS_threads := -matomics
LDFLAGS_threads := --import-memory --shared-memory --initial-memory=1048576 \
    --max-memory=4294967296 --export=__stack_pointer # slm.js sets a maximum of its own

# Small: -Os for kernels, whose loops say themselves what is unrolled (-O2 adds a tenth and no
# speed, -Oz costs a quarter of it), -Oz elsewhere. wasm.c must not have its loops turned into calls
# of themselves.
wasm_opt = $(if $(filter-out runtime/kernels/kv.c,\
        $(filter runtime/kernels/% runtime/base/mathf.c,$1)),-Os,-Oz) \
    $(if $(filter runtime/port/wasm.c,$1),-fno-builtin,-flto)
define wasm_objects # FOLDER FLAGS
$(W)/$1/%.o: %.c
	@mkdir -p $$(@D)
	$$(if $$(Q),@echo "  WASM  $$< ($1)")
	$$(Q)$$(WASM_CC) $$(call wasm_opt,$$<) $$(WASM_CFLAGS) $2 $$(RUNTIME_INC) -c $$< -o $$@
endef
wasm_name = slm$(patsubst %,-%,$(filter-out simd128,$2))$(patsubst %,-%,$(filter-out one,$1)).wasm
define wasm_module # MEMORY KERNELS
$(call wasm_objects,$1-$2,$(FLAGS_$1) $(if $(filter relaxed%,$2),-mrelaxed-simd) \
    -DSLM_ONLY_KERNELS=slm_kernels_$2)
$(W)/$(call wasm_name,$1,$2): \
    $(WASM_$1:%.c=$(W)/$1/%.o) $(patsubst %,$(W)/$1-$2/runtime/kernels/%.o,$2 select)
	$$(if $$(Q),@echo "  LD    $$@")
	$$(Q)$$(WASM_LD) $$(WASM_LDFLAGS) $$(LDFLAGS_$1) -o $$@ $$^
WASM_MODULES += $(call wasm_name,$1,$2)
endef
$(foreach memory,one threads,$(eval $(call wasm_objects,$(memory),$(FLAGS_$(memory))))\
    $(foreach kernels,$(WASM_KERNELS),$(eval $(call wasm_module,$(memory),$(kernels)))))

wasm: $(WASM_MODULES:%=$(W)/%) ## build the WebAssembly modules into build/wasm/

dist/%.wasm: $(W)/%.wasm
	@mkdir -p dist
	$(Q)cp $< $@
# esbuild makes the scripts small, and puts engine.js, load.js and opfs.js into those that import
# them; a visitor waits for a third less. Without it the sources do the same.
ESBUILD ?= $(shell command -v esbuild)
WEB_ALL := $(notdir $(wildcard runtime/web/*.js))
WEB_INLINED := $(if $(ESBUILD),engine.js load.js opfs.js)
WEB_FILES := $(filter-out $(WEB_INLINED),$(WEB_ALL))
dist/%.js: runtime/web/%.js $(WEB_INLINED:%=runtime/web/%)
	@mkdir -p dist
	$(Q)$(if $(ESBUILD),$(ESBUILD) --bundle --minify --format=esm --platform=neutral \
	    --target=es2022 --legal-comments=none --log-level=warning --external:node:* \
	    $(WEB_FILES:%=--external:./%) --outfile=$@ $<,cp $< $@)
dist/%: runtime/web/%
	@mkdir -p dist
	$(Q)cp $< $@

dist/demo/%: runtime/web/demo/%
	@mkdir -p dist/demo
	$(Q)cp $< $@

dist/LICENSE: LICENSE
	@mkdir -p dist
	$(Q)cp $< $@

dist/package.json: runtime/web/package.json runtime/include/slm.h
	@mkdir -p dist
	$(Q)sed 's/@VERSION@/$(VERSION)/' $< >$@

DIST := $(WASM_MODULES:%=dist/%) $(WEB_FILES:%=dist/%) \
    dist/slm.d.ts dist/package.json dist/README.md dist/LICENSE \
    $(patsubst runtime/web/%,dist/%,$(wildcard runtime/web/demo/*))
dist: $(DIST) ## what a web page needs, in dist/, with its sizes
	@scripts/sizes.sh $(filter-out dist/demo/%,$(DIST))

# ---- Trying and testing --------------------------------------------------------------------------
demo: ## install what is missing, then show it all at work (SLM_NO_INSTALL=1: only check)
	@scripts/demo.sh

gate: all ## measure the demo model, quantized, and apply the quality gate to it
	@scripts/gate.sh

PORT ?= 8080
serve: all $(DIST) ## the demo page at http://localhost:8080/ (PORT=), with the demo model
	@scripts/gate.sh build/gate >/dev/null || echo "the demo model did not pass its gate"
	@node scripts/serve.mjs --port $(PORT) --open /demo/?model=/models/tinystories-q4km.slm \
	    dist models=build/gate

export SLM_SHARED

test: ## everything that a contributor needs to trust a change
	@$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS)) tests asan $(DIST)
	@tests/run.sh unit kernels fuzz cli golden web surface asan
test-unit: $(UNIT_TESTS) ## unit tests
	@tests/run.sh unit
test-kernels: $(KERNEL_TESTS) ## every kernel variant against the scalar reference
	@tests/run.sh kernels
test-cli: all ## the commands, with Bats
	@tests/run.sh cli
test-golden: all ## logits against another engine's, and digests across builds
	@tests/run.sh golden
test-fuzz: $(FUZZ_REPLAY) ## replay the fuzzing corpora
	@tests/run.sh fuzz
test-web: all $(DIST) ## the package under Node and in headless Chromium and Firefox
	@tests/run.sh web
test-surface: all $(DIST) ## headers compile alone; symbols, imports and exports are as listed
	@tests/run.sh surface
ifeq ($(CONFIG),asan)
asan: tests
else
asan: ## build commands and tests with address and undefined behaviour sanitizers
	$(Q)$(MAKE) --no-print-directory CONFIG=asan tests
endif

fuzzers: $(FUZZERS)
fuzz: ## run every fuzz target for FUZZ_SECONDS (60) with libFuzzer
	$(Q)$(MAKE) --no-print-directory CONFIG=fuzz fuzzers
	@scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_NAMES)

bench: all $(DIST) ## side by side with llama.cpp and wllama, into docs/benchmarks.md
	@SLM_BIN=$(BIN) scripts/bench.sh

# ---- Care ----------------------------------------------------------------------------------------
lint: ## formatting, sizes, clang-tidy, shellcheck
	@scripts/lint.sh
format: ## clang-format every C file in place
	@scripts/lint.sh --format

install: all ## commands, library and header into $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	install -m 755 $(TOOLS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(LIB) $(DESTDIR)$(PREFIX)/lib
	install -m 644 runtime/include/slm.h $(DESTDIR)$(PREFIX)/include
uninstall: ## take them out again
	rm -f $(patsubst $(BIN)/%,$(DESTDIR)$(PREFIX)/bin/%,$(TOOLS))
	rm -f $(DESTDIR)$(PREFIX)/lib/libslm.a $(DESTDIR)$(PREFIX)/include/slm.h

clean: ## remove build/, bin/ and dist/
	rm -rf build bin dist

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

-include $(shell find $(B) $(W) -name '*.d' 2>/dev/null)
