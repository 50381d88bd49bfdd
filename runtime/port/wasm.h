/* wasm.h - what a WebAssembly module has of a system: a clock that stands still between calls. */
#ifndef SLM_PORT_WASM_H
#define SLM_PORT_WASM_H

void wasm_set_clock(double seconds);

#endif
