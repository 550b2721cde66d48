// Run-time dispatch of plain loops that gain from wide registers.
#pragma once

#include <cstdint>  // __GLIBC__, where there is one

// Marks a function that is compiled twice, for every x86-64 CPU and for those with AVX2; the loader chooses. Elsewhere
// it is an ordinary function. AVX2 alone brings no fused multiply-add, so both versions give the same bits. Only what
// is inlined into the function is widened, templates cannot be marked, and resolvers run too early for sanitizers.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define OVE_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define OVE_VECTOR_CLONES
#endif
