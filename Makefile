# The only makefile. `make help` lists the targets. Objects of each configuration live side by side
# under build/, so that release, sanitizer and wasm builds never need a `clean` between them.

CONFIG ?= release
CC ?= cc
CFLAGS ?= -O2 -g
LDFLAGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
SLM_SHARED ?= ../shared
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

VERSION := $(shell sed -n 's/^\#define SLM_VERSION "\(.*\)"/\1/p' runtime/include/slm.h)
ARCH := $(shell uname -m)

# ---- Flags: CFLAGS and LDFLAGS are the user's; what correctness needs is kept apart --------------
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
REQUIRED := -std=c11 -D_POSIX_C_SOURCE=200809L -ffp-contract=off -fno-fast-math -fno-math-errno -pthread $(WARNINGS) -MMD -MP
ifeq ($(CONFIG),asan)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
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
RUNTIME_SRC := $(wildcard runtime/base/*.c runtime/format/*.c runtime/quant/*.c runtime/text/*.c \
    runtime/model/*.c runtime/state/*.c runtime/decode/*.c) \
    $(wildcard runtime/port/posix.c) $(wildcard runtime/kernels/ref.c runtime/kernels/kv.c runtime/kernels/select.c)
ifeq ($(ARCH),x86_64)
RUNTIME_SRC += $(wildcard runtime/kernels/avx2.c runtime/kernels/avx512.c)
endif
RUNTIME_OBJ := $(RUNTIME_SRC:%.c=$(B)/%.o)
LIB := $(B)/libslm.a

TOOLS_LIB_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tools/lib/*.c))
TOOL_SRC := $(wildcard tools/slm_*.c)
TOOLS := $(patsubst tools/slm_%.c,$(BIN)/slm-%,$(TOOL_SRC))

UNIT_TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
KERNEL_TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/kernels/check_*.c))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_REPLAY := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/fuzz/replay_%,$(FUZZ_SRC))

.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all tests clean help

all: $(TOOLS) ## build every command into bin/
tests: $(TOOLS) $(UNIT_TESTS) $(KERNEL_TESTS) $(FUZZ_REPLAY) ## build everything that the tests run

# ---- Rules ---------------------------------------------------------------------------------------
$(B)/runtime/kernels/avx2.o: ISA := -mavx2 -mf16c
$(B)/runtime/kernels/avx512.o: ISA := -mavx2 -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
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
	$(Q)$(CC) $(CFLAGS) $(REQUIRED) $(SANITIZE) $(TOOLS_INC) -Itests -c $< -o $@

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

$(B)/tests/%: $(B)/tests/%.o $(B)/libtools.a $(LIB)
	$(if $(Q),@echo "  LD    $@")
	$(LINK)

clean: ## remove build/, bin/ and dist/
	rm -rf build bin dist

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

-include $(shell find $(B) -name '*.d' 2>/dev/null)
