// Runs the kernels of src/cuda/kernels.cu on the CPU: their source is C++ once the words of CUDA have a meaning.
//
// A block's threads are fibers that take turns at each __syncthreads(). Commands come on standard input, answers go to
// standard output, all as little-endian words; cuda/emulated.rs is the other end.
//
//   g++ -std=c++17 -O1 -ffp-contract=off -DKERNELS='"…/kernels.cu"' emulator.cpp -o emulator

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

struct Index {
    unsigned x, y, z;
};
static Index threadIdx, blockIdx, blockDim = {256, 1, 1};

#define __global__
#define __device__
#define __shared__ static
#define __restrict__

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static inline float __fsqrt_rn(float a) { return std::sqrt(a); }
static inline float __int_as_float(int a) {
    float b;
    std::memcpy(&b, &a, 4);
    return b;
}
static inline int __float_as_int(float a) {
    int b;
    std::memcpy(&b, &a, 4);
    return b;
}

static ucontext_t scheduler, fibers[256];
static bool done[256];
static unsigned running;
static void __syncthreads() { swapcontext(&fibers[running], &scheduler); }

#include KERNELS

typedef void (*Kernel)(float*, const float*, const float*, const float*, const Numbers);
static const std::map<std::string, Kernel> kernels = {
    {"affine", affine},         {"binary", binary},   {"convolution", convolution}, {"copy", copy},
    {"gather", gather},         {"gemm", gemm},       {"layer_norm", layer_norm},   {"max_pool", max_pool},
    {"place_rows", place_rows}, {"product", product}, {"reduce", reduce},           {"softmax", softmax},
    {"unary", unary},
};

struct Call {
    Kernel kernel;
    float* out;
    const float* in[3];
    Numbers numbers;
};
static Call call;

static void fiber(int thread) {
    threadIdx = {(unsigned)thread, 0, 0};
    call.kernel(call.out, call.in[0], call.in[1], call.in[2], call.numbers);
    done[thread] = true;
    swapcontext(&fibers[thread], &scheduler);
}

static void run_block() {
    static std::vector<char> stacks(256 * 65536);
    for (int i = 0; i < 256; i++) {
        done[i] = false;
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = &stacks[i * 65536];
        fibers[i].uc_stack.ss_size = 65536;
        fibers[i].uc_link = nullptr;
        makecontext(&fibers[i], (void (*)())fiber, 1, i);
    }
    for (bool left = true; left;) {
        left = false;
        for (running = 0; running < 256; running++) {
            if (done[running]) continue;
            threadIdx = {running, 0, 0};
            swapcontext(&scheduler, &fibers[running]);
            left |= !done[running];
        }
    }
}

static void take(void* into, size_t bytes) {
    if (bytes && fread(into, 1, bytes, stdin) != bytes) exit(0);
}

static uint32_t word() {
    uint32_t value;
    take(&value, 4);
    return value;
}

// Guard words behind each buffer: a kernel that writes beyond its end is found.
static const uint32_t GUARD = 0x7fc0dead;

int main() {
    std::map<uint32_t, std::vector<float>> buffers;
    uint32_t last = 0;
    for (;;) {
        uint32_t command = word();
        if (command == 'u') {
            std::vector<float> values(word());
            take(values.data(), values.size() * 4);
            for (int i = 0; i < 64; i++) values.push_back(__int_as_float(GUARD));
            buffers[++last] = std::move(values);
            fwrite(&last, 4, 1, stdout);
        } else if (command == 'd') {
            std::vector<float>& values = buffers.at(word());
            uint32_t length = values.size() - 64;
            for (int i = 0; i < 64; i++)
                if ((uint32_t)__float_as_int(values[length + i]) != GUARD) return fprintf(stderr, "a kernel wrote beyond\n"), 1;
            fwrite(&length, 4, 1, stdout);
            fwrite(values.data(), 4, length, stdout);
        } else if (command == 'f') {
            buffers.erase(word());
        } else if (command == 'l') {
            char name[32];
            take(name, 32);
            Index grid = {word(), word(), word()};
            call.kernel = kernels.at(name);
            call.out = buffers.at(word()).data();
            for (auto& in : call.in) {
                uint32_t id = word();
                in = id ? buffers.at(id).data() : nullptr;
            }
            take(&call.numbers, sizeof(Numbers));
            for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
                for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
                    for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) run_block();
        }
        fflush(stdout);
    }
}
