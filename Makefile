# Ignix. Targets: all (the server), check, bench, install, clean.
# Variables: CXX, CPPFLAGS, CXXFLAGS, LDFLAGS, WERROR (set it empty for an unknown compiler),
# PREFIX, DESTDIR, SANITIZE=address|undefined|thread, TESTFLAGS (passed to the test runner).

CXX      ?= g++
CXXFLAGS ?= -O2 -g
WERROR   ?= -Werror
PREFIX   ?= /usr/local

BASEFLAGS := -std=c++20 -fno-exceptions -fno-rtti -pthread -Wall -Wextra $(WERROR) -Isrc -MMD -MP

ifdef SANITIZE
flavour   := $(SANITIZE)
BASEFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
server    := build/$(flavour)/ignix
slowness  := IGNIX_TEST_SLOWNESS=6
else
flavour   := release
BASELINK  := -static-libgcc -static-libstdc++
server    := ignix
endif

objects := $(patsubst %.cc,build/$(flavour)/%.o,$(wildcard src/*.cc src/*/*.cc))
library := $(filter-out build/$(flavour)/src/main.o,$(objects))
tests   := $(patsubst %.cc,build/$(flavour)/%.o,$(filter-out test/faulty_disk.cc,$(wildcard test/*.cc)))
benches := $(patsubst bench/%.cc,build/$(flavour)/bench-%,$(wildcard bench/*.cc))
tester  := build/$(flavour)/ignix-test
disk    := build/$(flavour)/faulty-disk.so

all: $(server)

$(server): $(objects)
	$(CXX) $(BASEFLAGS) $(CXXFLAGS) $(BASELINK) $(LDFLAGS) -o $@ $^

$(tester): $(tests) $(library)
	$(CXX) $(BASEFLAGS) $(CXXFLAGS) $(BASELINK) $(LDFLAGS) -o $@ $^

# Stands between the server and the kernel, in the tests: never with a sanitizer.
$(disk): test/faulty_disk.cc test/faulty_disk.h Makefile
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra $(WERROR) $(CPPFLAGS) $(CXXFLAGS) \
	  -fPIC -shared -o $@ $<

build/$(flavour)/bench-%: build/$(flavour)/bench/%.o $(library)
	$(CXX) $(BASEFLAGS) $(CXXFLAGS) $(BASELINK) $(LDFLAGS) -o $@ $^

build/$(flavour)/test/%.o: BASEFLAGS += -Itest

build/$(flavour)/%.o: %.cc Makefile
	@mkdir -p $(@D)
	$(CXX) $(BASEFLAGS) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

check: $(server) $(tester) $(disk)
	IGNIX=./$(server) IGNIX_FAULTY_DISK=$(disk) $(slowness) $(tester) $(TESTFLAGS)

bench: $(server) $(benches)

install: $(server)
	install -D -m 755 ignix $(DESTDIR)$(PREFIX)/bin/ignix
	install -D -m 644 man/ignix.1 $(DESTDIR)$(PREFIX)/share/man/man1/ignix.1
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/ignix/README.md

clean:
	rm -rf build ignix

.PHONY: all check bench install clean
.SECONDARY:
-include $(patsubst %.o,%.d,$(objects) $(tests)) $(wildcard build/$(flavour)/bench/*.d)
