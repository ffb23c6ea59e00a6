// The same checks on a GPU.
#include "cuda_primitives_test.cpp"
