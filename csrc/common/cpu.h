// Functions built twice: for every processor, and for x86-64-v3 ones (AVX2, BMI), of which one is chosen at run time.
#pragma once

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define OVE_X86_V3 1
// Inline functions of the standard library must not be built with wider instructions, because the linker keeps one
// copy of each for all: hence an attribute of single functions and no compiler option.
#define OVE_TARGET_V3 [[gnu::target("avx2,bmi,bmi2,lzcnt")]]
#else
#define OVE_X86_V3 0
#endif

namespace ove {

inline bool cpu_is_v3() {
#if OVE_X86_V3
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#else
  return false;
#endif
}

}  // namespace ove
