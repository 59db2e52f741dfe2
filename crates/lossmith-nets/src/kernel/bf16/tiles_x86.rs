//! The tile instructions of AMX, by inline assembly: rustc's intrinsics for them are not stable.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

use super::product::{LANES, TILE_DEPTH};
use super::tiles::{ROWS, Square, TILE_ROWS, TileUnit};

/// The shape of all eight tiles, as LDTILECFG reads it: palette 1, then bytes per row, then rows.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = 4 * LANES as u16;
        rows[tile] = TILE_ROWS as u8;
        tile += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// Whether the processor has AMX for bf16, and the system lets this process use it. Asks once.
pub(super) fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| has_tiles() && ask())
}

/// Whether processor (CPUID) and system (XCR0) know tiles.
fn has_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let known = __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE == AMX_BF16_AND_TILE;
    // SAFETY: the system has turned XGETBV on (OSXSAVE).
    known && unsafe { xcr0() } & TILE_STATE == TILE_STATE
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever XGETBV does.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for leave to use the tiles' state, for all threads of the process: `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`.
#[cfg(target_os = "linux")]
fn ask() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    let mut answer = ARCH_PRCTL;
    // SAFETY: a system call that reads no memory; it clobbers rcx and r11, as every one does.
    unsafe {
        asm!("syscall", inlateout("rax") answer, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    answer == 0
}

/// Other systems have ways of their own, which nobody has tried.
#[cfg(not(target_os = "linux"))]
fn ask() -> bool {
    false
}

/// The processor's tiles.
#[derive(Clone, Copy)]
pub(super) struct Amx;

impl TileUnit for Amx {
    fn square(
        self,
        (left, left_pitch): (&[u32], usize),
        (right, pitch, second): (&[u32], usize, usize),
        steps: usize,
        square: &mut Square,
    ) {
        let depth = steps * TILE_DEPTH;
        assert!(permitted() && steps > 0 && depth <= left_pitch && left.len() >= ROWS * left_pitch, "no such tiles");
        assert!(right.len() >= (depth - 1) * pitch + second + LANES, "the right side is too short");
        // Sums in tmm0 to tmm3, the left side in tmm4 and tmm5, the right one in tmm6 and tmm7. One block from the
        // configuration to the release, so that no state of the tiles outlives it.
        // SAFETY: the processor has the instructions, and the system allows them. Tiles of 16 rows of 64 bytes are read from 32 rows
        // of `left`, `left_pitch >= depth` words apart, and from `depth` rows of `right`, whose last ends inside it (asserted); the
        // sums go to the 32 rows of `square`.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{upper} + {left_pitch}*1]",
                "tileloadd tmm6, [{near} + {right_pitch}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{far} + {right_pitch}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{lower} + {left_pitch}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {upper}, 64",
                "add {lower}, 64",
                "add {near}, {right_step}",
                "add {far}, {right_step}",
                "dec {steps}",
                "jnz 2b",
                "mov {left_pitch:e}, 128",
                "tilestored [{sums} + {left_pitch}*1], tmm0",
                "tilestored [{sums} + {left_pitch}*1 + 64], tmm1",
                "tilestored [{sums} + {left_pitch}*1 + 2048], tmm2",
                "tilestored [{sums} + {left_pitch}*1 + 2112], tmm3",
                "tilerelease",
                config = in(reg) &raw const CONFIG,
                upper = inout(reg) left.as_ptr() => _,
                lower = inout(reg) left.as_ptr().add(TILE_ROWS * left_pitch) => _,
                near = inout(reg) right.as_ptr() => _,
                far = inout(reg) right.as_ptr().add(second) => _,
                left_pitch = inout(reg) 4 * left_pitch => _,
                right_pitch = in(reg) 4 * pitch,
                right_step = in(reg) 4 * pitch * TILE_DEPTH,
                steps = inout(reg) steps => _,
                sums = in(reg) square.as_mut_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}
