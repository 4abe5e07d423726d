//! What the host grants this process: limits, capabilities, how threads are scheduled. `unsafe` only for system calls.

use std::io;

/// The right to lock memory without limit (capabilities(7)).
pub(crate) const CAP_IPC_LOCK: u32 = 14;
/// The right to real-time scheduling without limit (capabilities(7)).
pub(crate) const CAP_SYS_NICE: u32 = 23;

/// A soft limit; `None` for no limit at all.
pub(crate) fn limit(what: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes into a live rlimit. It fails for unknown resources only; the limit is 0 then.
    unsafe { libc::getrlimit(what, &raw mut limits) };
    (limits.rlim_cur != libc::RLIM_INFINITY).then_some(limits.rlim_cur)
}

/// Whether the process has a capability.
pub(crate) fn is_capable(capability: u32) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| has(&status, capability))
}

fn has(status: &str, capability: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|bits| bits >> capability & 1 == 1)
}

/// Changes how a thread is scheduled; 0 is the calling one.
pub(crate) fn schedule(thread: libc::pid_t, policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    // SAFETY: an all-zero sched_param is valid.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: reads a live sched_param.
    match unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the calling thread is scheduled as threads are by default.
pub(crate) fn is_ordinary() -> bool {
    // SAFETY: takes no pointers; 0 is the calling thread.
    unsafe { libc::sched_getscheduler(0) == libc::SCHED_OTHER }
}

/// Binds the calling thread to one CPU.
///
/// # Errors
/// There is no such CPU, or this process must not use it.
pub(crate) fn bind(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero set is an empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the number is within the set; the call reads the set, whose size is given.
    let result = unsafe {
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How often the timer of the kernel ticks: a tick is the resolution of its coarse clocks.
pub(crate) fn ticks_per_second() -> Option<u64> {
    let mut tick = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a live timespec.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut tick) };
    let nanos = u64::try_from(tick.tv_nsec).ok().filter(|nanos| result == 0 && *nanos > 0)?;
    Some(1_000_000_000 / nanos)
}

/// The number of the calling thread.
pub(crate) fn this_thread() -> libc::pid_t {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_a_bit_of_the_effective_set() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000804000\n";
        assert!(has(status, CAP_SYS_NICE) && has(status, CAP_IPC_LOCK));
        assert!(!has(status, 0));
        assert!(!has("Name:\tx\n", CAP_SYS_NICE));
    }
}
