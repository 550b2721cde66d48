// Marks the inline functions that CPU and GPU code share.
#pragma once

#ifdef __CUDACC__
#define OVE_HOST_DEVICE __host__ __device__
#else
#define OVE_HOST_DEVICE
#endif
