//! Sixteen states of SHA-256 side by side, one in each lane of 512-bit vectors.

#![expect(
    unsafe_code,
    reason = "the processor is asked for AVX-512 when the program runs, and arrays become vectors and the other way round"
)]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_set4_epi32, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_ternarylogic_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use super::lanes::{Block, Compress, LANES, States};

/// FIPS 180-4, 4.2.2.
#[rustfmt::skip]
const ROUND: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The words of sixteen blocks: word by word once `turn` was there.
type Words = [__m512i; 16];

/// A loop from 0 to 15, written out: all vectors stay in registers then.
macro_rules! sixteen_times {
    ($t:ident, $body:block) => {
        sixteen_times!($t, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($t:ident, $body:block, $($n:literal)*) => {
        $({
            let $t = $n;
            $body
        })*
    };
}

/// The function that puts the blocks of each lane into its state, if this processor can run it. All lanes
/// have as many blocks as the first.
pub(super) fn detect() -> Option<Compress> {
    let has =
        std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw");
    // SAFETY: it is handed out only where both features were seen.
    has.then_some(|states, blocks| unsafe { compress(states, blocks) })
}

// Loops, no closures: those would not be compiled for the instructions of the function around them.
#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut States, blocks: &[&[Block]; LANES]) {
    let zero = _mm512_setzero_si512();
    let mut state = [zero; 8];
    for (vector, words) in state.iter_mut().zip(&*states) {
        // SAFETY: both are 64 bytes of any value.
        *vector = unsafe { transmute::<[u32; LANES], __m512i>(*words) };
    }
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    for at in 0..blocks[0].len() {
        let mut words = [zero; 16];
        for (row, blocks) in words.iter_mut().zip(blocks) {
            // SAFETY: both are 64 bytes of any value.
            let block = unsafe { transmute::<Block, __m512i>(blocks[at]) };
            // The bytes of words in the processor's order.
            *row = _mm512_shuffle_epi8(block, swap);
        }
        turn(&mut words);
        let before = state;
        rounds::<0>(&mut state, &words);
        expand(&mut words);
        rounds::<16>(&mut state, &words);
        expand(&mut words);
        rounds::<32>(&mut state, &words);
        expand(&mut words);
        rounds::<48>(&mut state, &words);
        for (word, before) in state.iter_mut().zip(before) {
            *word = _mm512_add_epi32(*word, before);
        }
    }
    for (words, vector) in states.iter_mut().zip(state) {
        // SAFETY: both are 64 bytes of any value.
        *words = unsafe { transmute::<__m512i, [u32; LANES]>(vector) };
    }
}

/// From a vector per block to a vector per word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn turn(words: &mut Words) {
    // Of each four rows: vector `n` holds, in its quarter `q`, word 4q + n of all four.
    let mut fours = [[_mm512_setzero_si512(); 4]; 4];
    for (four, rows) in fours.iter_mut().zip(words.as_chunks::<4>().0) {
        let [a, b, c, d] = *rows;
        let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (low_2, high_2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        *four = [
            _mm512_unpacklo_epi64(low, low_2),
            _mm512_unpackhi_epi64(low, low_2),
            _mm512_unpacklo_epi64(high, high_2),
            _mm512_unpackhi_epi64(high, high_2),
        ];
    }
    for n in 0..4 {
        let (a, b, c, d) = (fours[0][n], fours[1][n], fours[2][n], fours[3][n]);
        let (first, second) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
        let (third, fourth) = (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
        words[n] = _mm512_shuffle_i32x4::<0x88>(first, second);
        words[4 + n] = _mm512_shuffle_i32x4::<0xdd>(first, second);
        words[8 + n] = _mm512_shuffle_i32x4::<0x88>(third, fourth);
        words[12 + n] = _mm512_shuffle_i32x4::<0xdd>(third, fourth);
    }
}

/// Sixteen rounds, from the one with number `FIRST` on (FIPS 180-4, 6.2.2, step 3).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
#[expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]
fn rounds<const FIRST: usize>(state: &mut [__m512i; 8], words: &Words) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    sixteen_times!(t, {
        let constant = _mm512_set1_epi32(ROUND[FIRST + t].cast_signed());
        let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
        let sum = xor(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
        let first = _mm512_add_epi32(
            _mm512_add_epi32(h, _mm512_add_epi32(words[t], constant)),
            _mm512_add_epi32(sum, choice),
        );
        let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
        let sum = xor(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
        (h, g, f, e) = (g, f, e, _mm512_add_epi32(d, first));
        (d, c, b, a) = (c, b, a, _mm512_add_epi32(first, _mm512_add_epi32(sum, majority)));
    });
    *state = [a, b, c, d, e, f, g, h];
}

/// The next sixteen words from these sixteen (FIPS 180-4, 6.2.2, step 1).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn expand(words: &mut Words) {
    sixteen_times!(t, {
        let (second, seventh, late) = (words[(t + 1) % 16], words[(t + 9) % 16], words[(t + 14) % 16]);
        let low = xor(
            _mm512_ror_epi32::<7>(second),
            _mm512_ror_epi32::<18>(second),
            _mm512_srli_epi32::<3>(second),
        );
        let high =
            xor(_mm512_ror_epi32::<17>(late), _mm512_ror_epi32::<19>(late), _mm512_srli_epi32::<10>(late));
        words[t] = _mm512_add_epi32(_mm512_add_epi32(words[t], seventh), _mm512_add_epi32(low, high));
    });
}

/// Tables of functions of three bits, the first of them the most significant of an index: exclusive or; the
/// second where the first is set, else the third; what two of them say.
const XOR: i32 = 0b1001_0110;
const CHOICE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR>(a, b, c)
}
