//! A higher level of zstd gives no larger output: for small files, for what small pclusters cut, for joined
//! files.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use erofs_encode::{Params, by_name, encoder};

/// Pseudo-random numbers (a linear congruential generator): the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    /// A number below `limit` of which low ones come far more often, as with the words of a text.
    fn skewed(&mut self, limit: usize) -> usize {
        let most = 1 + self.below(limit);
        let most = 1 + self.below(most);
        self.below(most)
    }

    fn word<'a>(&mut self, words: &'a [String]) -> &'a str {
        &words[self.skewed(words.len())]
    }
}

/// Files much like C headers: a licence that many share, and lines of a few forms with names of a few parts.
fn headers(count: usize) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(1);
    let words: Vec<String> = (0..3000)
        .map(|_| (0..2 + numbers.below(3)).map(|_| SYLLABLES[numbers.below(SYLLABLES.len())]).collect())
        .collect();
    let licences: Vec<String> = (0..4).map(|_| sentence(&mut numbers, &words, 150)).collect();
    (0..count)
        .map(|_| {
            let mut text = format!("/*{} */\n\n", licences[numbers.skewed(4)]);
            // A file has its own subject: few of all the words.
            let own: Vec<String> = (0..60).map(|_| numbers.word(&words).to_owned()).collect();
            let prefix = format!("{}_{}", own[0], own[1]);
            for _ in 0..40 + numbers.below(160) {
                text += &line(&mut numbers, &own, &prefix);
            }
            text.into_bytes()
        })
        .collect()
}

const SYLLABLES: [&str; 24] = [
    "re", "in", "get", "set", "con", "al", "loc", "st", "at", "er", "buf", "dev", "en", "ti", "on", "map",
    "val", "de", "ad", "dr", "is", "or", "un", "ex",
];

fn sentence(numbers: &mut Numbers, words: &[String], count: usize) -> String {
    (0..count).fold(String::new(), |text, _| text + " " + numbers.word(words))
}

fn line(numbers: &mut Numbers, words: &[String], prefix: &str) -> String {
    let (one, two) = (numbers.word(words), numbers.word(words));
    let number = numbers.skewed(4096);
    match numbers.below(6) {
        0 => format!("#define {}_{}\t0x{number:04x}\n", prefix.to_uppercase(), one.to_uppercase()),
        1 => format!("int {prefix}_{one}(struct {prefix} *{two}, unsigned int {one});\n"),
        2 => format!("/* {} */\n", sentence(numbers, words, 4 + number % 16)),
        3 => format!("static inline void {prefix}_{one}_{two}(struct {two} *{one})\n{{\n\treturn;\n}}\n\n"),
        4 => format!("\tunsigned long {one};\n\tstruct {two} *{one}_{two};\n"),
        _ => format!("\tif ({one}->{two} == {number})\n\t\treturn {prefix}_{one}({two}, {number});\n"),
    }
}

/// How many bytes a level makes of the pieces, each a segment, in pclusters of `pcluster` bytes.
fn size(level: i32, pcluster: usize, pieces: &[Vec<u8>]) -> usize {
    let params = Params { level, ..Params::new(by_name("zstd").unwrap(), pcluster) };
    let mut encoder = encoder(&params).unwrap();
    let mut output = vec![0; pcluster];
    let mut size = 0;
    for piece in pieces {
        encoder.begin_segment();
        let mut at = 0;
        while at < piece.len() {
            let prefix = encoder.encode_prefix(&piece[at..], &mut output);
            assert!(prefix.consumed > 0, "level {level}: nothing of {} bytes", piece.len() - at);
            at += prefix.consumed;
            size += prefix.written;
        }
    }
    size
}

/// Levels 1 and 2 encode whole files by libzstd's fastest parser, with matches from five bytes on and from
/// four: short files lose or gain a little at level 2, as their content is. No other step may lose more than
/// a thousandth.
fn check(what: &str, pcluster: usize, pieces: &[Vec<u8>]) {
    let sizes: Vec<usize> = (1..=22).map(|level| size(level, pcluster, pieces)).collect();
    for (pair, level) in sizes.windows(2).zip(2..) {
        let most = pair[0] + pair[0] / if level == 2 { 100 } else { 1000 };
        assert!(pair[1] <= most, "{what}: levels {} and {level} give {pair:?} bytes", level - 1);
    }
}

#[test]
fn higher_levels_do_not_enlarge_small_files() {
    check("files", 131_072, &headers(24));
}

#[test]
fn higher_levels_do_not_enlarge_what_is_cut() {
    check("files in small pclusters", 4096, &headers(24));
}

/// As fragments are: small files one behind the other, with equal parts that stand farther apart than 256
/// KiB.
#[test]
fn higher_levels_do_not_enlarge_joined_files() {
    check("joined files", 131_072, &[headers(48).concat()]);
}
