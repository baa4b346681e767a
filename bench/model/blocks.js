'use strict';
// Random blocks of every type, fast: each chunk is filled with random words, then the few bytes of
// every block that hold its scales are overwritten with valid ones. Codes thus cover their full
// range and no two rows are equal.
//
// Scales are chosen so that the weights have mean 0 and the wanted standard deviation. A mean other
// than 0 would add one common value to all outputs of a matrix, which grows from layer to layer.
// Where a format's codes are not symmetric, the scale gets a random sign, or the minimum is set to
// cancel the codes' mean. Layouts: see the block formats of ggml (d: half scale, dmin or m: half
// minimum).

/**
 * sfc32 (Chris Doty-Humphrey, PractRand): a fast generator with a period of at least 2^32 words.
 */
class Random {
    constructor(a, b, c) {
        this.state = Int32Array.of(a, b, c, 1);
        this.one = new Int32Array(1);
        for (let i = 0; i < 15; i++) this.next();
    }
    next() {
        this.fill(this.one, 1);
        return this.one[0] >>> 0;
    }
    /** Uniform in [0, 1). */
    uniform() {
        return this.next() / 4294967296;
    }
    /** The first n of an Int32Array become random. */
    fill(words, n) {
        let a = this.state[0];
        let b = this.state[1];
        let c = this.state[2];
        let d = this.state[3];
        for (let i = 0; i < n; i++) {
            const t = (a + b + d) | 0;
            d = (d + 1) | 0;
            a = b ^ (b >>> 9);
            b = (c + (c << 3)) | 0;
            c = (((c << 21) | (c >>> 11)) + t) | 0;
            words[i] = t;
        }
        this.state[0] = a;
        this.state[1] = b;
        this.state[2] = c;
        this.state[3] = d;
    }
}

/**
 * A generator for one tensor: its name and the seed decide, so a file with fewer layers holds the
 * same ones.
 */
function randomFor(seed, name) {
    let h = 2166136261; // FNV-1a
    for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 16777619);
    return new Random(seed, h, Math.floor(seed / 4294967296));
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** Nearest half of a finite float within the half range, ties to even; subnormals included. */
function halfBits(x) {
    f32[0] = x;
    const bits = u32[0];
    const sign = (bits >>> 16) & 0x8000;
    const abs = Math.abs(f32[0]);
    if (abs >= 65520) throw new RangeError(`${x} is no finite half`);
    if (abs < 2 ** -14) return sign | roundEven(abs * 2 ** 24);
    const mantissa = bits & 0x7fffff;
    const exponent = ((bits >>> 23) & 0xff) - 112;
    // A mantissa that rounds up to 1024 carries into the exponent, as it should.
    return sign | ((exponent << 10) + roundEven(mantissa / 8192));
}

function roundEven(x) {
    const low = Math.floor(x);
    const rest = x - low;
    return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

function bf16Bits(x) {
    f32[0] = x;
    const bits = u32[0];
    return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

let normals; // made when first wanted

/** 65536 standard normal numbers (Box and Muller), each with its negative: their mean is 0. */
function normalTable() {
    const random = new Random(1, 2, 3);
    const table = new Float64Array(65536);
    for (let i = 0; i < table.length; i += 4) {
        const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
        const angle = 2 * Math.PI * random.uniform();
        table[i] = radius * Math.cos(angle);
        table[i + 1] = -table[i];
        table[i + 2] = radius * Math.sin(angle);
        table[i + 3] = -table[i + 2];
    }
    return table;
}

const POOL = 4096; // different scale fields per tensor; a power of two
const SCALE_SPREAD = 0.5; // a block's scale is the mean scale times 1 +- this
const SPREAD_RMS = Math.sqrt(1 + (SCALE_SPREAD * SCALE_SPREAD) / 3);

/** A pool of random scales whose root mean square is `rms`. */
function scalePool(random, rms, signed) {
    return Float64Array.from({ length: POOL }, () => {
        const value = (rms / SPREAD_RMS) * (1 + SCALE_SPREAD * (2 * random.uniform() - 1));
        return signed && random.next() & 1 ? -value : value;
    });
}

const integer = (random, low, high) => low + Math.floor(random.uniform() * (high - low + 1));
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/**
 * A scale field that is one half, at u16 `at` of a block of `u16s` u16. rms: of the codes times
 * inner scales.
 */
function halfStamp(u16s, at, rms, signed) {
    return (std, random) => {
        const pool = Uint16Array.from(scalePool(random, std / rms, signed), halfBits);
        return (bytes, nBlocks) => {
            const words = new Uint16Array(bytes.buffer, bytes.byteOffset, nBlocks * u16s);
            // The block's own random bits choose the scale.
            for (let i = at; i < words.length; i += u16s) words[i] = pool[words[i] & (POOL - 1)];
        };
    };
}

/**
 * A scale field of `field` u32 words at the word `at` of a block of `u32s` words, made by
 * make(d, random) -> u32[field]. rms: of the codes times inner scales.
 */
function fieldStamp(u32s, at, field, rms, make) {
    return (std, random) => {
        const pool = new Uint32Array(POOL * field);
        scalePool(random, std / rms, false).forEach((d, i) => pool.set(make(d, random), i * field));
        return (bytes, nBlocks) => {
            const words = new Uint32Array(bytes.buffer, bytes.byteOffset, nBlocks * u32s);
            for (let i = at; i < words.length; i += u32s) {
                const from = (words[i] & (POOL - 1)) * field;
                for (let k = 0; k < field; k++) words[i + k] = pool[from + k];
            }
        };
    };
}

/** Scale and minimum of Q4_1 and Q5_1; the minimum cancels the codes' mean, within a tenth. */
const scaleAndMin = (mean) => (d, random) => [
    halfBits(d) | (halfBits(-mean * d * (0.9 + 0.2 * random.uniform())) << 16),
];

/** {d, dmin, 12 bytes of 6-bit scales and minima} of Q4_K and Q5_K; mean: of the codes. */
const kScales = (mean) => (d, random) => {
    const sc = new Uint8Array(12);
    for (let j = 0; j < 8; j++) {
        const s = integer(random, 0, 63);
        const m = clamp(s + integer(random, -4, 4), 0, 63);
        if (j < 4) {
            sc[j] |= s;
            sc[j + 4] |= m;
        } else {
            sc[j + 4] |= (s & 15) | ((m & 15) << 4);
            sc[j - 4] |= (s >> 4) << 6;
            sc[j] |= (m >> 4) << 6;
        }
    }
    return [halfBits(d) | (halfBits(mean * d) << 16), ...littleWords(sc)];
};

/**
 * {16 bytes of 4-bit scale and minimum} and {d, dmin} of Q2_K, which lie apart: at words 0..3 and
 * at word 20.
 */
const q2kScales = (d, random) => {
    const scales = Uint8Array.from({ length: 16 }, () => {
        const s = integer(random, 0, 15);
        return s | (clamp(s + integer(random, -1, 1), 0, 15) << 4);
    });
    return [...littleWords(scales), halfBits(d) | (halfBits(1.5 * d) << 16)];
};

function littleWords(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}

function q2kStamp(std, random) {
    const pool = new Uint32Array(POOL * 5);
    scalePool(random, std / 9.91, false).forEach((d, i) => pool.set(q2kScales(d, random), i * 5));
    return (bytes, nBlocks) => {
        const words = new Uint32Array(bytes.buffer, bytes.byteOffset, nBlocks * 21);
        for (let i = 0; i < words.length; i += 21) {
            const from = (words[i + 20] & (POOL - 1)) * 5;
            for (let k = 0; k < 4; k++) words[i + k] = pool[from + k];
            words[i + 20] = pool[from + 4];
        }
    };
}

/** The half d of IQ1_M: four bits on top of each of the last four u16. */
function iq1mStamp(std, random) {
    const pool = Uint16Array.from(scalePool(random, std / 7.19, true), halfBits);
    return (bytes, nBlocks) => {
        const words = new Uint16Array(bytes.buffer, bytes.byteOffset, nBlocks * 28);
        for (let i = 24; i < words.length; i += 28) {
            const d = pool[words[i] & (POOL - 1)];
            for (let k = 0; k < 4; k++) {
                words[i + k] = (words[i + k] & 0xfff) | (((d >> (4 * k)) & 15) << 12);
            }
        }
    };
}

/** Scales of one byte that stand for powers of two: two neighbours, in the right proportion. */
function mxfp4Stamp(std) {
    const scale = std / 5.852;
    const low = Math.floor(Math.log2(scale));
    const share = ((scale / 2 ** low) ** 2 - 1) / 3; // of the upper one, twice as large
    return (bytes, nBlocks) => {
        for (let i = 0; i < nBlocks * 17; i += 17) {
            bytes[i] = low + 128 + (bytes[i] < 256 * share ? 1 : 0);
        }
    };
}

/** Ternary codes of two bits: where both are set, the lower one is cleared, then the scale. */
function tq2Stamp(std, random) {
    const scale = halfStamp(33, 32, 0.866, true)(std, random);
    return (bytes, nBlocks) => {
        const words = new Uint16Array(bytes.buffer, bytes.byteOffset, nBlocks * 33);
        for (let i = 0; i < words.length; i++) {
            if (i % 33 !== 32) words[i] &= ~((words[i] >> 1) & 0x5555);
        }
        scale(bytes, nBlocks);
    };
}

/** Two bits, of which 3 becomes 2. */
function i2Stamp() {
    return (bytes, nBlocks) => {
        const words = new Uint32Array(bytes.buffer, bytes.byteOffset, nBlocks * 8);
        for (let i = 0; i < words.length; i++) words[i] &= ~((words[i] >>> 1) & 0x55555555);
    };
}

/** What stands behind the last row of I2_S: the tensor's scale. */
function i2Tail(std) {
    const tail = Buffer.alloc(32);
    tail.writeFloatLE(std / 0.866);
    return tail;
}

/** Normal numbers by a table of halves or bfloat16s, which 16 random bits choose from. */
function tableStamp(bits) {
    return (std) => {
        normals ??= normalTable();
        const table = Uint16Array.from(normals, (x) => bits(std * x));
        return (bytes, n) => {
            const words = new Uint16Array(bytes.buffer, bytes.byteOffset, n);
            for (let i = 0; i < n; i++) words[i] = table[words[i]];
        };
    };
}

/** Uniform floats of the wanted standard deviation, every mantissa bit used. */
function f32Stamp(std) {
    return (bytes, n) => {
        const raw = new Int32Array(bytes.buffer, bytes.byteOffset, n);
        const out = new Float32Array(bytes.buffer, bytes.byteOffset, n);
        const scale = (std * Math.sqrt(3)) / 2147483648;
        for (let i = 0; i < n; i++) out[i] = raw[i] * scale;
    };
}

// The last numbers are root mean squares of weight / d over uniform codes and the inner scales
// drawn above. Variances of the codes: 21.25 of 16, 85.25 of 32 (a quarter more about 8 and 16).
//   Q8_0: codes -128..127, 5461.5.         Q6_K: scales -128..127 by codes -32..31, 5461.5 * 341.5.
//   Q3_K: scales -32..31 by codes -4..3, 341.5 * 5.5.
//   Q2_K: scales 0..15 (mean square 77.5) by codes 0..3, 77.5 * 1.25, and the minimum's jitter.
//   IQ4_NL: the table's steps, 4548.      IQ4_XS: scales -32..31 by those, 341.5 * 4548.
//   MXFP4: the table's steps, 34.25.       TQ1_0: 2/3. TQ2_0, I2_S: half of the codes are 2: 3/4.
//   The others: measured over random bytes.
//   Q4_K, Q5_K: scales 0..63 (mean square 1333.5) by the codes, and the minimum's jitter.
const TYPES = {
    F32: { id: 0, elements: 1, bytes: 4, stamp: f32Stamp },
    F16: { id: 1, elements: 1, bytes: 2, stamp: tableStamp(halfBits) },
    BF16: { id: 30, elements: 1, bytes: 2, stamp: tableStamp(bf16Bits) },
    Q4_0: { id: 2, elements: 32, bytes: 18, stamp: halfStamp(9, 0, 4.637, true) },
    Q4_1: { id: 3, elements: 32, bytes: 20, stamp: fieldStamp(5, 0, 1, 4.63, scaleAndMin(7.5)) },
    Q5_0: { id: 6, elements: 32, bytes: 22, stamp: halfStamp(11, 0, 9.247, true) },
    Q5_1: { id: 7, elements: 32, bytes: 24, stamp: fieldStamp(6, 0, 1, 9.276, scaleAndMin(15.5)) },
    Q8_0: { id: 8, elements: 32, bytes: 34, stamp: halfStamp(17, 0, 73.9, true) },
    Q2_K: { id: 10, elements: 256, bytes: 84, stamp: q2kStamp },
    Q3_K: { id: 11, elements: 256, bytes: 110, stamp: halfStamp(55, 54, 43.34, true) },
    Q4_K: { id: 12, elements: 256, bytes: 144, stamp: fieldStamp(36, 0, 4, 169.4, kScales(7.5)) },
    Q5_K: { id: 13, elements: 256, bytes: 176, stamp: fieldStamp(44, 0, 4, 339.5, kScales(15.5)) },
    Q6_K: { id: 14, elements: 256, bytes: 210, stamp: halfStamp(105, 104, 1365.7, true) },
    IQ4_NL: { id: 20, elements: 32, bytes: 18, stamp: halfStamp(9, 0, 67.44, true) },
    IQ4_XS: { id: 23, elements: 256, bytes: 136, stamp: halfStamp(68, 0, 1246.2, true) },
    MXFP4: { id: 39, elements: 32, bytes: 17, stamp: mxfp4Stamp },
    TQ1_0: { id: 34, elements: 256, bytes: 54, stamp: halfStamp(27, 26, 0.817, true) },
    TQ2_0: { id: 35, elements: 256, bytes: 66, stamp: tq2Stamp },
    I2_S: { id: 36, elements: 128, bytes: 32, stamp: i2Stamp, tail: i2Tail },
    IQ3_S: { id: 21, elements: 256, bytes: 110, stamp: halfStamp(55, 0, 140.2, true) },
    IQ3_XXS: { id: 18, elements: 256, bytes: 98, stamp: halfStamp(49, 0, 143.4, true) },
    IQ2_S: { id: 22, elements: 256, bytes: 82, stamp: halfStamp(41, 0, 56.3, true) },
    IQ2_XS: { id: 17, elements: 256, bytes: 74, stamp: halfStamp(37, 0, 55.9, true) },
    IQ2_XXS: { id: 16, elements: 256, bytes: 66, stamp: halfStamp(33, 0, 53.2, true) },
    IQ1_S: { id: 19, elements: 256, bytes: 50, stamp: halfStamp(25, 0, 7.2, true) },
    IQ1_M: { id: 29, elements: 256, bytes: 56, stamp: iq1mStamp },
    Q1_0: { id: 41, elements: 128, bytes: 18, stamp: halfStamp(9, 0, 1, true) },
    Q2_0: { id: 42, elements: 64, bytes: 18, stamp: halfStamp(9, 0, 1.225, true) },
};

const NO_TAIL = Buffer.alloc(0);

/** The bytes behind the last block of a tensor of standard deviation `std`. */
const tailOf = (type, std) => TYPES[type].tail?.(std) ?? NO_TAIL;

/** Bytes of a tensor of `n` elements of a type; n is a multiple of the block's elements. */
const bytesOf = (type, n) =>
    (n / TYPES[type].elements) * TYPES[type].bytes + tailOf(type, 1).length;

/**
 * A function (bytes, nBlocks) that fills the first nBlocks of a 4-byte-aligned buffer with random
 * blocks of standard deviation `std`. The buffer's length, rounded up to 4, is scratch.
 */
function blockFiller(type, std, random) {
    const { bytes: blockBytes, stamp } = TYPES[type];
    const finish = stamp(std, random);
    return (bytes, nBlocks) => {
        const n = Math.ceil((nBlocks * blockBytes) / 4);
        random.fill(new Int32Array(bytes.buffer, bytes.byteOffset, n), n);
        finish(bytes, nBlocks);
    };
}

module.exports = { TYPES, bytesOf, blockFiller, randomFor, tailOf };
