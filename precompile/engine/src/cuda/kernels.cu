// The exact engine's kernels for CUDA: the same operations in the same order as the ones in Rust, so the same bytes.
//
// Every rounding is written out: __fadd_rn, __fmul_rn, __fmaf_rn, __fdiv_rn, __fsqrt_rn, never an operator on floats, so
// that no compiler may contract, reorder or approximate. Threads divide the elements of the output only; where several
// work on one row they are the 16 lanes of the specification. All kernels have one signature; `Numbers` says the rest.

struct Numbers {
    int n[40];
    float f[8];
};

#define KERNEL(name)                                                                                              \
    extern "C" __global__ void name(float* __restrict__ out, const float* __restrict__ a,                        \
                                    const float* __restrict__ b, const float* __restrict__ c, const Numbers p)

#define ADD __fadd_rn
#define SUB __fsub_rn
#define MUL __fmul_rn
#define FMA __fmaf_rn
#define DIV __fdiv_rn

typedef long long wide;

__device__ inline wide place() { return (wide)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline float bits(unsigned int word) { return __int_as_float((int)word); }
__device__ inline float size_of(float x) { return __int_as_float(__float_as_int(x) & 0x7fffffff); }
__device__ inline float with_sign(float size, float of) {
    return __int_as_float((__float_as_int(size) & 0x7fffffff) | (__float_as_int(of) & 0x80000000));
}
__device__ inline float pow2(int exponent) { return __int_as_float((exponent + 127) << 23); }

// Elementary functions: polynomials and constants of kernels/math.rs.

__device__ inline float det_exp(float x) {
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float magic = bits(0x4b400000u);
    float shifted = FMA(x, bits(0x3fb8aa3bu), magic);
    float n = SUB(shifted, magic);
    int exponent = __float_as_int(shifted) - 0x4b400000;
    float r = FMA(n, -bits(0x35bfbe8eu), FMA(n, -bits(0x3f317200u), x));
    float y = bits(0x3ab53118u);
    y = FMA(y, r, bits(0x3c091d63u));
    y = FMA(y, r, bits(0x3d2aac4fu));
    y = FMA(y, r, bits(0x3e2aaa48u));
    y = FMA(y, r, bits(0x3efffffeu));
    y = ADD(FMA(MUL(r, r), y, r), 1.0f);
    int half = exponent >> 1;
    return MUL(MUL(y, pow2(half)), pow2(exponent - half));
}

__device__ inline float det_log(float x) {
    bool subnormal = x < bits(0x00800000u);
    float scaled = subnormal ? MUL(x, 33554432.0f) : x;
    int word = __float_as_int(scaled);
    int exponent = (int)((unsigned int)word - 0x3f3504f3u) >> 23;
    float f = SUB(__int_as_float((int)((unsigned int)word - ((unsigned int)exponent << 23))), 1.0f);
    float e = SUB((float)exponent, subnormal ? 25.0f : 0.0f);
    float square = MUL(f, f);
    float y = bits(0x3d89d2f9u);
    y = FMA(y, f, bits(0xbdeec60au));
    y = FMA(y, f, bits(0x3df3700cu));
    y = FMA(y, f, bits(0xbdfe2020u));
    y = FMA(y, f, bits(0x3e119d76u));
    y = FMA(y, f, bits(0xbe2aadc1u));
    y = FMA(y, f, bits(0x3e4cd23cu));
    y = FMA(y, f, bits(0xbe800004u));
    y = FMA(y, f, bits(0x3eaaaaa4u));
    y = FMA(e, bits(0x35bfbe8eu), MUL(MUL(f, square), y));
    y = FMA(e, bits(0x3f317200u), ADD(f, FMA(-0.5f, square, y)));
    y = x < bits(0x7f800000u) ? y : x;
    y = x == 0.0f ? bits(0xff800000u) : y;
    return x < 0.0f ? bits(0x7fc00000u) : y;
}

__device__ inline float det_tanh(float x) {
    float square = MUL(x, x);
    float y = bits(0x3b0acccEu);
    y = FMA(y, square, bits(0xbc059da7u));
    y = FMA(y, square, bits(0x3cb1b8dau));
    y = FMA(y, square, bits(0xbd5cf6e1u));
    y = FMA(y, square, bits(0x3e088837u));
    y = FMA(y, square, bits(0xbeaaaaaau));
    float small = FMA(MUL(x, square), y, x);
    float size = size_of(x);
    float large = SUB(1.0f, DIV(2.0f, ADD(det_exp(ADD(size, size)), 1.0f)));
    return size < 0.625f ? small : with_sign(large, x);
}

__device__ inline float det_sigmoid(float x) {
    float e = det_exp(-size_of(x));
    return DIV(x >= 0.0f ? 1.0f : e, ADD(1.0f, e));
}

__device__ inline float det_erf(float x) {
    float square = MUL(x, x);
    float s = bits(0x38a7b8afu);
    s = FMA(s, square, bits(0xba530641u));
    s = FMA(s, square, bits(0x3baa2523u));
    s = FMA(s, square, bits(0xbcdc008eu));
    s = FMA(s, square, bits(0x3de716b2u));
    s = FMA(s, square, bits(0xbec093a0u));
    s = FMA(s, square, bits(0x3e0375d4u));
    float small = FMA(x, s, x);
    float size = size_of(x);
    float t = size > 4.0f ? 4.0f : size;
    float l = bits(0x36179b21u);
    l = FMA(l, t, bits(0xb8174679u));
    l = FMA(l, t, bits(0x396ff067u));
    l = FMA(l, t, bits(0xba10d302u));
    l = FMA(l, t, bits(0xbae1bb15u));
    l = FMA(l, t, bits(0x3cad52f6u));
    l = FMA(l, t, bits(0xbdd531cbu));
    l = FMA(l, t, bits(0xbf22d915u));
    l = FMA(l, t, bits(0xbf90715fu));
    float large = SUB(1.0f, det_exp(MUL(t, l)));
    return size < 0.921875f ? small : with_sign(large, x);
}

__device__ inline float unit(float x) {
    x = x > 0.0f ? x : 0.0f;
    return x < 1.0f ? x : 1.0f;
}

// n: count, function; f: alpha, beta. The numbers of functions are those of `cuda::kernels::Unary`.
KERNEL(unary) {
    wide i = place();
    if (i >= p.n[0]) return;
    float x = a[i], alpha = p.f[0], beta = p.f[1], y = x;
    switch (p.n[1]) {
        case 0: y = x > 0.0f ? x : 0.0f; break;
        case 1: y = det_exp(x); break;
        case 2: y = det_log(x); break;
        case 3: y = det_tanh(x); break;
        case 4: y = det_sigmoid(x); break;
        case 5: y = det_erf(x); break;
        case 6: y = __fsqrt_rn(x); break;
        case 7: y = -x; break;
        case 8: y = x < 0.0f ? SUB(0.0f, x) : (x == 0.0f ? 0.0f : x); break;
        case 9: y = DIV(1.0f, x); break;
        case 10: y = MUL(MUL(0.5f, x), ADD(1.0f, det_erf(MUL(x, bits(0x3f3504f3u))))); break;
        case 11: {
            float inner = MUL(bits(0x3f4c422au), FMA(bits(0x3d372713u), MUL(MUL(x, x), x), x));
            y = MUL(MUL(0.5f, x), ADD(1.0f, det_tanh(inner)));
            break;
        }
        case 12: y = x < 0.0f ? MUL(alpha, x) : x; break;
        case 13: y = unit(FMA(alpha, x, beta)); break;
        case 14: y = MUL(x, unit(FMA(x, bits(0x3e2aaaabu), 0.5f))); break;
        case 15: y = MUL(x, det_sigmoid(MUL(alpha, x))); break;
        case 16: y = x < 0.0f ? MUL(alpha, SUB(det_exp(x), 1.0f)) : x; break;
        // Limits: NaN stays, and where they cross the upper one holds.
        case 17: y = x < alpha ? alpha : x; y = y > beta ? beta : y; break;
    }
    out[i] = y;
}

// n: count, function, rank, shape[6], strides of a[6], strides of b[6].
KERNEL(binary) {
    wide i = place();
    if (i >= p.n[0]) return;
    wide rest = i, at = 0, bt = 0;
    for (int axis = p.n[2] - 1; axis >= 0; axis--) {
        int index = (int)(rest % p.n[3 + axis]);
        rest /= p.n[3 + axis];
        at += (wide)index * p.n[9 + axis];
        bt += (wide)index * p.n[15 + axis];
    }
    float x = a[at], y = b[bt], z = 0.0f;
    switch (p.n[1]) {
        case 0: z = ADD(x, y); break;
        case 1: z = SUB(x, y); break;
        case 2: z = MUL(x, y); break;
        case 3: z = DIV(x, y); break;
        case 4: z = x > y ? x : y; break;
        case 5: z = x < y ? x : y; break;
    }
    out[i] = z;
}

// n: count, rank, offset, shape[6], strides of a[6]: elements moved, none changed.
KERNEL(copy) {
    wide i = place();
    if (i >= p.n[0]) return;
    wide rest = i, at = p.n[2];
    for (int axis = p.n[1] - 1; axis >= 0; axis--) {
        at += (wide)(int)(rest % p.n[3 + axis]) * p.n[9 + axis];
        rest /= p.n[3 + axis];
    }
    out[i] = a[at];
}

// n: count, offset in out, length of a's rows, distance of the rows in out: a part of a concatenation.
KERNEL(place_rows) {
    wide i = place();
    if (i >= p.n[0]) return;
    out[p.n[1] + i / p.n[2] * p.n[3] + i % p.n[2]] = a[i];
}

// n: count, number of indices, inner, length. b holds the indices, as integers.
KERNEL(gather) {
    wide i = place();
    if (i >= p.n[0]) return;
    wide inner = p.n[2], row = i / inner;
    wide outer = row / p.n[1];
    int index = ((const int*)b)[row % p.n[1]];
    out[i] = a[(outer * p.n[3] + index) * inner + i % inner];
}

// A matrix product, tiled through shared memory. Each output is a chain of FMAs over ascending k from +0.0 in blocks of
// 256, whose sums are added in order. `Left` and `Right` give element (line, k); lines beyond the end are never stored.

#define TILE 64
#define STEP 16

template <class Left, class Right, class Finish>
__device__ inline void product_tile(const Left left, const Right right, const Finish finish, int rows, int columns, int depth) {
    __shared__ float lefts[STEP][TILE + 4];
    __shared__ float rights[STEP][TILE + 4];
    int column0 = blockIdx.x * TILE, row0 = blockIdx.y * TILE;
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float total[4][4], chain[4][4];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) total[i][j] = chain[i][j] = 0.0f;
    for (int k0 = 0; k0 < depth; k0 += STEP) {
        for (int i = threadIdx.x; i < TILE * STEP; i += 256) {
            int k = i % STEP, line = i / STEP;
            bool inside = row0 + line < rows && k0 + k < depth;
            lefts[k][line] = inside ? left(row0 + line, k0 + k) : 0.0f;
            inside = column0 + line < columns && k0 + k < depth;
            rights[k][line] = inside ? right(column0 + line, k0 + k) : 0.0f;
        }
        __syncthreads();
        int steps = depth - k0 < STEP ? depth - k0 : STEP;
        for (int k = 0; k < steps; k++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    chain[i][j] = FMA(lefts[k][ty * 4 + i], rights[k][tx * 4 + j], chain[i][j]);
        if ((k0 + STEP) % 256 == 0 || k0 + STEP >= depth) {
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) {
                    total[i][j] = k0 < 256 ? chain[i][j] : ADD(total[i][j], chain[i][j]);
                    chain[i][j] = 0.0f;
                }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int row = row0 + ty * 4 + i, column = column0 + tx * 4 + j;
            if (row < rows && column < columns) finish(row, column, total[i][j]);
        }
}

struct Matrix {
    const float* values;
    wide line, k;
    __device__ inline float operator()(int at, int depth) const { return values[at * line + depth * k]; }
};

struct Store {
    float* out;
    int columns;
    __device__ inline void operator()(int row, int column, float y) const { out[(wide)row * columns + column] = y; }
};

// Gemm's end: times alpha, plus beta times C.
struct Scale {
    float* out;
    const float* c;
    int columns, c_row, c_column, scaled, weighted;
    float alpha, beta;
    __device__ inline void operator()(int row, int column, float y) const {
        if (scaled) y = MUL(y, alpha);
        if (c) {
            float x = c[(wide)row * c_row + (wide)column * c_column];
            y = ADD(y, weighted ? MUL(beta, x) : x);
        }
        out[(wide)row * columns + column] = y;
    }
};

// n: rows, columns, k, line and k stride of a, of b. c holds the offsets of a and b for each product, as integers.
KERNEL(product) {
    const int* offsets = (const int*)c + 2 * blockIdx.z;
    Matrix left = {a + offsets[0], p.n[3], p.n[4]}, right = {b + offsets[1], p.n[5], p.n[6]};
    Store store = {out + (wide)blockIdx.z * p.n[0] * p.n[1], p.n[1]};
    product_tile(left, right, store, p.n[0], p.n[1], p.n[2]);
}

// n: as `product`, then strides of c by row and column, whether there are alpha, beta and c; f: alpha, beta.
KERNEL(gemm) {
    Matrix left = {a, p.n[3], p.n[4]}, right = {b, p.n[5], p.n[6]};
    Scale finish = {out, p.n[11] ? c : 0, p.n[1], p.n[7], p.n[8], p.n[9], p.n[10], p.f[0], p.f[1]};
    product_tile(left, right, finish, p.n[0], p.n[1], p.n[2]);
}

// The patches of one image's group: line = output element, k over channels, then the kernel.
struct Patches {
    const float* image;
    const int* n;
    __device__ inline float operator()(int line, int k) const {
        int width = k % n[12], rest = k / n[12];
        int height = rest % n[11];
        rest /= n[11];
        int depth = rest % n[10], channel = rest / n[10];
        int x = line % n[9] * n[15] + width * n[18] - n[21];
        int y = line / n[9] % n[8] * n[14] + height * n[17] - n[20];
        int z = line / n[9] / n[8] * n[13] + depth * n[16] - n[19];
        if (x < 0 || y < 0 || z < 0 || x >= n[6] || y >= n[5] || z >= n[4]) return 0.0f;
        return image[(((wide)channel * n[4] + z) * n[5] + y) * n[6] + x];
    }
};

struct Biased {
    float* out;
    const float* bias;
    int columns;
    __device__ inline void operator()(int row, int column, float y) const {
        out[(wide)row * columns + column] = bias ? ADD(y, bias[row]) : y;
    }
};

// n: features and channels of a group, groups, whether there is a bias, then by axis (3 each) input, output, kernel,
// stride, dilation, pad. a is the weights, b the images, c the bias.
KERNEL(convolution) {
    int features = p.n[0], channels = p.n[1], groups = p.n[2], group = blockIdx.z % groups;
    int depth = channels * p.n[10] * p.n[11] * p.n[12], columns = p.n[7] * p.n[8] * p.n[9];
    Matrix weights = {a + (wide)group * features * depth, depth, 1};
    Patches patches = {b + (wide)blockIdx.z * channels * p.n[4] * p.n[5] * p.n[6], p.n};
    Biased finish = {out + (wide)blockIdx.z * features * columns, p.n[3] ? c + group * features : 0, columns};
    product_tile(weights, patches, finish, features, columns, depth);
}

// n: planes, then by axis (3 each) input, output, kernel, stride, dilation, pad from n[4] on, as in `convolution`.
KERNEL(max_pool) {
    wide i = place();
    int size = p.n[7] * p.n[8] * p.n[9];
    if (i >= (wide)p.n[0] * size) return;
    const int* n = p.n;
    int line = (int)(i % size);
    const float* plane = a + i / size * n[4] * n[5] * n[6];
    float best = bits(0xff800000u);
    for (int depth = 0; depth < n[10]; depth++)
        for (int height = 0; height < n[11]; height++)
            for (int width = 0; width < n[12]; width++) {
                int x = line % n[9] * n[15] + width * n[18] - n[21];
                int y = line / n[9] % n[8] * n[14] + height * n[17] - n[20];
                int z = line / n[9] / n[8] * n[13] + depth * n[16] - n[19];
                if (x < 0 || y < 0 || z < 0 || x >= n[6] || y >= n[5] || z >= n[4]) continue;
                float value = plane[((wide)z * n[5] + y) * n[6] + x];
                best = value > best ? value : best;
            }
    out[i] = best;
}

// n: count, size of a plane, channels; a values, b: mean, factor and bias of each channel.
KERNEL(affine) {
    wide i = place();
    if (i >= p.n[0]) return;
    const float* channel = b + i / p.n[1] % p.n[2] * 3;
    out[i] = FMA(SUB(a[i], channel[0]), channel[1], channel[2]);
}

// Rows, each by 16 threads: they are the lanes of a sum.

#define LANES 16

struct Row {
    float* lanes;  // of this row, in shared memory
    int lane;

    // Adds the lanes: 0+8, ..., 7+15, then 4, 2, 1.
    __device__ inline float fold(float mine) const {
        __syncthreads();
        lanes[lane] = mine;
        for (int width = LANES / 2; width > 0; width /= 2) {
            __syncthreads();
            float sum = lane < width ? ADD(lanes[lane], lanes[lane + width]) : 0.0f;
            __syncthreads();
            if (lane < width) lanes[lane] = sum;
        }
        __syncthreads();
        return lanes[0];
    }

    __device__ inline float greatest(float mine) const {
        __syncthreads();
        lanes[lane] = mine;
        __syncthreads();
        float best = bits(0xff800000u);
        for (int i = 0; i < LANES; i++) best = best > lanes[i] ? best : lanes[i];
        return best;
    }
};

#define ROW(count)                                                                \
    __shared__ float shared_lanes[256];                                           \
    int in_block = threadIdx.x / LANES, lane = threadIdx.x % LANES;               \
    wide index = (wide)blockIdx.x * (256 / LANES) + in_block;                     \
    bool real = index < (count);                                                  \
    Row row = {shared_lanes + in_block * LANES, lane}

// n: rows, width, whether the logarithm is wanted.
KERNEL(softmax) {
    ROW(p.n[0]);
    int width = real ? p.n[1] : 0;
    const float* x = a + index * p.n[1];
    float* y = out + index * p.n[1];
    float mine = bits(0xff800000u);
    for (int i = lane; i < width; i += LANES) mine = mine > x[i] ? mine : x[i];
    float max = row.greatest(mine), sum = 0.0f;
    for (int i = lane; i < width; i += LANES) sum = ADD(sum, det_exp(SUB(x[i], max)));
    sum = row.fold(sum);
    float log = p.n[2] ? det_log(sum) : 0.0f;
    for (int i = lane; i < width; i += LANES)
        y[i] = p.n[2] ? SUB(SUB(x[i], max), log) : DIV(det_exp(SUB(x[i], max)), sum);
}

// n: rows, width, whether centred, whether there is a bias; f: epsilon; b the scale, c the bias.
KERNEL(layer_norm) {
    ROW(p.n[0]);
    int width = real ? p.n[1] : 0;
    const float* x = a + index * p.n[1];
    float* y = out + index * p.n[1];
    float mean = 0.0f, sum = 0.0f, count = (float)p.n[1];
    for (int i = lane; i < width; i += LANES) sum = ADD(sum, x[i]);
    sum = row.fold(sum);
    if (p.n[2]) mean = DIV(sum, count);
    sum = 0.0f;
    for (int i = lane; i < width; i += LANES) {
        float off = SUB(x[i], mean);
        sum = ADD(sum, MUL(off, off));
    }
    float variance = DIV(row.fold(sum), count);
    float inverse = DIV(1.0f, __fsqrt_rn(ADD(variance, p.f[0])));
    for (int i = lane; i < width; i += LANES) {
        float off = MUL(SUB(x[i], mean), inverse);
        y[i] = p.n[3] ? FMA(off, b[i], c[i]) : MUL(off, b[i]);
    }
}

// n: rows, width, function. The numbers of functions are those of `cuda::kernels::Fold`.
KERNEL(reduce) {
    ROW(p.n[0]);
    int width = real ? p.n[1] : 0, function = p.n[2];
    const float* x = a + index * p.n[1];
    float best = bits(0xff800000u), sum = 0.0f;
    for (int i = lane; i < width; i += LANES) {
        best = best > x[i] ? best : x[i];
        float term = function == 2 || function == 3 ? MUL(x[i], x[i]) : (function == 4 ? size_of(x[i]) : x[i]);
        sum = ADD(sum, term);
    }
    sum = row.fold(sum);
    best = row.greatest(best);
    if (!real || lane != 0) return;
    switch (function) {
        case 1: sum = DIV(sum, (float)p.n[1]); break;
        case 3: sum = __fsqrt_rn(sum); break;
        case 5: sum = best; break;
    }
    out[index] = sum;
}
