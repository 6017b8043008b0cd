# Ignix. Targets: all (the server and ignix-check), check, bench, install, uninstall, clean.
# Variables: CXX, AR, CPPFLAGS, CXXFLAGS, LDFLAGS, WERROR (set it empty for an unknown compiler),
# BASELINK (empty: libgcc and libstdc++ are shared), PREFIX, DESTDIR,
# SANITIZE=address|undefined|thread, TESTFLAGS (passed to the test runner).

CXX      ?= g++
CXXFLAGS ?= -O2 -g
WERROR   ?= -Werror
PREFIX   ?= /usr/local

BASEFLAGS := -std=c++20 -fno-exceptions -fno-rtti -pthread -Wall -Wextra $(WERROR) -Isrc -MMD -MP

ifdef SANITIZE
flavour   := $(SANITIZE)
BASEFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
bin       := build/$(flavour)/
slowness  := IGNIX_TEST_SLOWNESS=6
else
flavour   := release
BASELINK  := -static-libgcc -static-libstdc++
bin       :=
endif

objects := $(patsubst %.cc,build/$(flavour)/%.o,$(sort $(wildcard src/*.cc src/*/*.cc)))
mains   := build/$(flavour)/src/main.o build/$(flavour)/src/check.o
library := $(filter-out $(mains),$(objects))
archive := build/$(flavour)/ignix.a
tests   := $(patsubst %.cc,build/$(flavour)/%.o,$(filter-out test/faulty_disk.cc,$(sort $(wildcard test/*.cc))))
benches := $(patsubst bench/%.cc,build/$(flavour)/bench-%,$(wildcard bench/*.cc))
server  := $(bin)ignix
checker := $(bin)ignix-check
tester  := build/$(flavour)/ignix-test
disk    := build/$(flavour)/faulty-disk.so

all: $(server) $(checker)

# What everything is built with, and of; a new file only where that has changed. What is installed is
# what was built, whatever the flags are by then.
stamp := build/$(flavour)/flags
built := $(CXX) $(BASEFLAGS) $(BASELINK) $(CPPFLAGS) $(CXXFLAGS) $(LDFLAGS) $(objects) $(tests)
builds := $(filter-out install uninstall clean,$(or $(MAKECMDGOALS),all))
ifneq ($(if $(builds),$(built),$(file <$(stamp))),$(file <$(stamp)))
$(shell rm -f $(stamp))
endif
$(stamp):
	@:$(shell mkdir -p $(@D))$(file >$@,$(built))

$(server): build/$(flavour)/src/main.o $(library)
	$(CXX) $(BASEFLAGS) $(CXXFLAGS) $(BASELINK) $(LDFLAGS) -o $@ $^

# Of an archive only what is needed is linked, and that is little.
$(checker): build/$(flavour)/src/check.o $(archive)
	$(CXX) $(BASEFLAGS) $(CXXFLAGS) $(BASELINK) $(LDFLAGS) -o $@ $^

$(archive): $(library)
	@rm -f $@
	$(AR) rcsT $@ $^

$(tester): $(tests) $(library)
	$(CXX) $(BASEFLAGS) $(CXXFLAGS) $(BASELINK) $(LDFLAGS) -o $@ $^

# Stands between the server and the kernel, in the tests: never with a sanitizer.
$(disk): test/faulty_disk.cc test/faulty_disk.h Makefile $(stamp)
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra $(WERROR) $(CPPFLAGS) $(CXXFLAGS) \
	  -fPIC -shared -o $@ $<

build/$(flavour)/bench-%: build/$(flavour)/bench/%.o $(library)
	$(CXX) $(BASEFLAGS) $(CXXFLAGS) $(BASELINK) $(LDFLAGS) -o $@ $^

build/$(flavour)/test/%.o: BASEFLAGS += -Itest

build/$(flavour)/%.o: %.cc Makefile $(stamp)
	@mkdir -p $(@D)
	$(CXX) $(BASEFLAGS) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

check: $(server) $(checker) $(tester) $(disk)
	IGNIX=./$(server) IGNIX_FAULTY_DISK=$(disk) $(slowness) $(tester) $(TESTFLAGS)

bench: $(server) $(benches) $(disk)

install: $(server) $(checker)
	install -D -m 755 $(server) $(DESTDIR)$(PREFIX)/bin/ignix
	install -D -m 755 $(checker) $(DESTDIR)$(PREFIX)/bin/ignix-check
	install -D -m 644 man/ignix.1 $(DESTDIR)$(PREFIX)/share/man/man1/ignix.1
	install -D -m 644 man/ignix-check.1 $(DESTDIR)$(PREFIX)/share/man/man1/ignix-check.1
	install -D -m 644 man/ignix-commands.7 $(DESTDIR)$(PREFIX)/share/man/man7/ignix-commands.7
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/ignix/README.md
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/ignix/LICENSE

uninstall:
	cd $(DESTDIR)$(PREFIX)/ && rm -rf bin/ignix bin/ignix-check share/doc/ignix \
	  share/man/man1/ignix.1 share/man/man1/ignix-check.1 share/man/man7/ignix-commands.7

clean:
	rm -rf build ignix ignix-check

.PHONY: all check bench install uninstall clean
.SECONDARY:
-include $(patsubst %.o,%.d,$(objects) $(tests)) $(wildcard build/$(flavour)/bench/*.d)
