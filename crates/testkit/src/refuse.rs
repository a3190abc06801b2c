//! Sandboxes: system calls that the kernel refuses with `EPERM`, as seccomp filters of container runtimes do
//! with those that they do not know (Docker before 20.10.10 and libseccomp before 2.5: `clone3`, `openat2`,
//! `faccessat2` and newer).

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::require::Absent;

/// System calls that are newer than what the filters of old container runtimes allow, and for each of which
/// the standard library, libc or this project has something older.
pub const NEWER_CALLS: &[i64] = &[
    libc::SYS_statx,
    libc::SYS_copy_file_range,
    libc::SYS_renameat2,
    libc::SYS_memfd_create,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_io_uring_setup,
    libc::SYS_clone3,
    libc::SYS_close_range,
    libc::SYS_openat2,
    libc::SYS_faccessat2,
    libc::SYS_getrandom,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_pidfd_open,
    libc::SYS_mlock2,
    libc::SYS_execveat,
    libc::SYS_fchmodat2,
    CACHESTAT,
    LISTXATTRAT,
    GETXATTRAT,
    SETXATTRAT,
];

/// Numbers that are the same on all architectures but alpha (`include/uapi/asm-generic/unistd.h`).
const CACHESTAT: i64 = 451;
const SETXATTRAT: i64 = 463;
const GETXATTRAT: i64 = 464;
const LISTXATTRAT: i64 = 465;

/// What is refused.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(rules: Rules) -> Result<BpfProgram, Absent> {
    let failed = |what: &dyn std::fmt::Display| Absent::because(format!("no seccomp filter: {what}"));
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch);
    filter.and_then(BpfProgram::try_from).map_err(|error| failed(&error))
}

fn run<R: Send>(rules: Rules, work: impl FnOnce() -> R + Send) -> Result<R, Absent> {
    let program = program(rules)?;
    // A filter stays with its thread, and with what that starts.
    std::thread::scope(|scope| {
        let run = || {
            apply_filter(&program).map_err(|error| Absent::because(format!("no seccomp filter: {error}")))?;
            Ok(work())
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `work` on a thread of its own, to which and to whose programs these system calls are refused.
/// Programs have to be started by `fork` (with a user id, say), because `posix_spawn` of glibc takes
/// `clone3`.
///
/// # Errors
/// When the kernel takes no filter.
pub fn calls<R: Send>(refused: &[i64], work: impl FnOnce() -> R + Send) -> Result<R, Absent> {
    run(refused.iter().map(|&call| (call, Vec::new())).collect(), work)
}

/// Runs `work` on a thread of its own that can start no other thread.
///
/// # Errors
/// When the kernel takes no filter.
pub fn threads<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, Absent> {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let is_thread = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(thread), thread)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| Absent::because(format!("no seccomp filter: {error}")))?;
    run(BTreeMap::from([(libc::SYS_clone3, Vec::new()), (libc::SYS_clone, vec![is_thread])]), work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require::need;

    #[test]
    fn what_is_refused_is_refused_here_alone() {
        let other = || std::thread::Builder::new().spawn(|| 7).map(|handle| handle.join().unwrap());
        let Some(refused) = need("threads that are refused", threads(other)) else { return };
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(other().unwrap(), 7);
        let here = || {
            let (flags, resolve) = (rustix::fs::OFlags::PATH, rustix::fs::ResolveFlags::empty());
            rustix::fs::openat2(rustix::fs::CWD, ".", flags, rustix::fs::Mode::empty(), resolve).map(drop)
        };
        assert_eq!(calls(NEWER_CALLS, here).unwrap(), Err(rustix::io::Errno::PERM));
        assert_eq!(here(), Ok(()));
    }
}
