//! What is known of the host and matters for deadlines. What cannot be read here is left out.

use crate::drive::host;
use std::path::{Path, PathBuf};

/// One thing that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// What it is about: `kernel`, `RT throttling`.
    pub name: &'static str,
    /// What is known.
    pub what: String,
    /// Why that is bad for deadlines, if it is.
    pub but: Option<&'static str>,
}

/// How long others had to wait for CPUs, and how much a hypervisor took, since the host began.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pressure {
    /// Microseconds in which some task of the host waited for a CPU (`/proc/pressure/cpu`); `None` if nobody counts.
    pub(super) waited_micros: Option<u64>,
    /// Ticks that a hypervisor took (`/proc/stat`), and all ticks.
    pub(super) steal: Option<(u64, u64)>,
}

impl Pressure {
    /// What the kernel has counted by now.
    pub(super) fn now() -> Pressure {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Pressure { waited_micros: waited(&read("/proc/pressure/cpu")), steal: steal(&read("/proc/stat")) }
    }

    /// What happened since then, for people; empty if nobody counts.
    pub(super) fn since(&self, before: &Pressure) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some((now, then)) = self.waited_micros.zip(before.waited_micros) {
            let what = format!("some task waited for a CPU for {} ms meanwhile", now.saturating_sub(then) / 1000);
            facts.push(Fact { name: "CPU pressure", what, but: None });
        }
        if let Some((now, then)) = self.steal.zip(before.steal) {
            let (stolen, all) = (now.0.saturating_sub(then.0), now.1.saturating_sub(then.1).max(1));
            let but = (stolen * 100 > all).then_some("a hypervisor runs others on these CPUs");
            let what = format!("{:.1} % of the CPU time meanwhile", stolen as f64 * 100.0 / all as f64);
            facts.push(Fact { name: "steal", what, but });
        }
        facts
    }
}

/// The facts, with what happened since `before`.
pub(super) fn of_this_host(before: &Pressure) -> Vec<Fact> {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut facts = Vec::new();
    let mut add = |name, what: String, but| facts.push(Fact { name, what, but });
    if let Some(version) = read("/proc/version") {
        let (what, but) = kernel(&version, read("/sys/kernel/realtime").as_deref());
        add("kernel", what, but);
    }
    if let Some(hz) = host::ticks_per_second() {
        add("timer tick", format!("{hz} Hz"), None);
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let alone = (cpus == 1).then_some("a line thread that spins leaves nobody else a CPU meanwhile");
    add("CPUs", format!("{cpus} for this process"), alone);
    if read("/proc/cpuinfo").is_some_and(|text| text.contains(" hypervisor")) {
        add("machine", "virtual".to_owned(), Some("its CPUs may be taken away at any moment, and nothing here tells"));
    }
    if let Some(clock) = read("/sys/devices/system/clocksource/clocksource0/current_clocksource") {
        let slow = matches!(clock.as_str(), "hpet" | "acpi_pm" | "jiffies");
        add("clock source", clock, slow.then_some("reading it is slow"));
    }
    if let Some((runtime, period)) =
        read("/proc/sys/kernel/sched_rt_runtime_us").zip(read("/proc/sys/kernel/sched_rt_period_us"))
    {
        let what = if runtime == "-1" { "off".to_owned() } else { format!("{runtime} us of {period} us") };
        let but = (runtime == "-1").then_some("a real-time thread that does not stop keeps its CPU for ever");
        add("RT throttling", what, but);
    }
    let rights = |capability| if host::is_capable(capability) { "yes" } else { "no" };
    let limit = |what| host::limit(what).map_or("unlimited".to_owned(), |limit: u64| limit.to_string());
    add("CAP_SYS_NICE", rights(host::CAP_SYS_NICE).to_owned(), None);
    add("RLIMIT_RTPRIO", limit(libc::RLIMIT_RTPRIO), None);
    add("CAP_IPC_LOCK", rights(host::CAP_IPC_LOCK).to_owned(), None);
    add("RLIMIT_MEMLOCK", limit(libc::RLIMIT_MEMLOCK), None);
    facts.extend(control_group(&read("/proc/self/cgroup").unwrap_or_default(), Path::new("/sys/fs/cgroup")));
    if let Some(what) = container(&|path| Path::new(path).exists(), &read("/proc/self/cgroup").unwrap_or_default()) {
        facts.push(Fact { name: "container", what: what.to_owned(), but: None });
    }
    facts.extend(Pressure::now().since(before));
    facts
}

/// Of `Linux version 6.18.44 (..) #1 SMP PREEMPT_DYNAMIC ..` the release and how the kernel is preempted.
fn kernel(version: &str, realtime: Option<&str>) -> (String, Option<&'static str>) {
    let release = version.split_ascii_whitespace().nth(2).unwrap_or("?");
    let word = |word: &str| version.split([' ', '_', '-']).collect::<Vec<_>>().join(" ").contains(word);
    let (mode, but) = if realtime == Some("1") || word("PREEMPT RT") {
        ("PREEMPT_RT", None)
    } else if word("PREEMPT DYNAMIC") {
        ("PREEMPT_DYNAMIC", Some("it holds deadlines up for up to milliseconds, unless booted with preempt=full"))
    } else if word("PREEMPT") {
        ("PREEMPT", None)
    } else {
        ("not preempted", Some("it holds deadlines up for up to milliseconds"))
    };
    (format!("{release}, {mode}"), but)
}

/// The total of the line `some avg10=.. total=22782050359`.
fn waited(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.rsplit_once("total=")?.1.trim().parse().ok()
}

/// Of the line `cpu  user nice system idle iowait irq softirq steal ..` the stolen ticks and all.
fn steal(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).filter_map(|text| text.parse().ok()).collect();
    Some((*ticks.get(7)?, ticks.iter().sum()))
}

/// What the control groups of this process allow: CPU time (`cpu.max`, version 2) and real-time threads
/// (`cpu.rt_runtime_us`, version 1).
fn control_group(groups: &str, root: &Path) -> Vec<Fact> {
    let mut facts = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let folder = |root: PathBuf| root.join(path.trim_start_matches('/'));
        // A container sees its own group as the root.
        let read = |root: PathBuf, file: &str| {
            let found = std::fs::read_to_string(folder(root.clone()).join(file));
            found.or_else(|_| std::fs::read_to_string(root.join(file))).ok()
        };
        if controllers.is_empty() {
            let limit = read(root.to_owned(), "cpu.max").filter(|limit| !limit.starts_with("max"));
            if let Some((quota, period)) = limit.as_deref().and_then(|limit| limit.trim().split_once(' ')) {
                let what = format!("{quota} us of CPU time in {period} us");
                let but = Some("once it is spent, every thread stands still until the period is over");
                facts.push(Fact { name: "control group", what, but });
            }
        } else if controllers.split(',').any(|controller| controller == "cpu") {
            let real_time = read(root.join(controllers), "cpu.rt_runtime_us");
            if real_time.is_some_and(|text| text.trim() == "0") {
                let what = "cpu.rt_runtime_us is 0".to_owned();
                let but = Some("no process in it gets real-time scheduling, whatever its rights are");
                facts.push(Fact { name: "control group", what, but });
            }
        }
    }
    facts
}

fn container(exists: &dyn Fn(&str) -> bool, groups: &str) -> Option<&'static str> {
    if exists("/.dockerenv") || groups.contains("/docker") {
        return Some("Docker");
    }
    if exists("/run/.containerenv") || groups.contains("/libpod") {
        return Some("Podman");
    }
    groups.contains("/kubepods").then_some("Kubernetes").or_else(|| groups.contains("/lxc").then_some("LXC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_a_kernel_is_read_from_its_version() {
        let of = |version: &str| kernel(version, None).0;
        assert_eq!(
            of("Linux version 6.1.0-9-amd64 (x) (gcc) #1 SMP PREEMPT_DYNAMIC Debian"),
            "6.1.0-9-amd64, PREEMPT_DYNAMIC"
        );
        assert_eq!(of("Linux version 6.12.1-rt (x) #1 SMP PREEMPT_RT Mon"), "6.12.1-rt, PREEMPT_RT");
        assert_eq!(of("Linux version 5.15.0 (x) #1 SMP Mon"), "5.15.0, not preempted");
        assert_eq!(kernel("Linux version 5.15.0 (x) #1 SMP PREEMPT Mon", Some("1")).0, "5.15.0, PREEMPT_RT");
    }

    #[test]
    fn pressure_and_steal_are_what_happened_meanwhile() {
        assert_eq!(waited("some avg10=83.13 avg60=64.98 avg300=27.54 total=22782\nfull total=0\n"), Some(22_782));
        assert_eq!(steal("cpu  10 0 5 80 0 0 1 4 0 0\ncpu0 1 2\n"), Some((4, 100)));
        assert_eq!((waited(""), steal("")), (None, None));
        let before = Pressure { waited_micros: Some(1000), steal: Some((4, 100)) };
        let facts = Pressure { waited_micros: Some(6000), steal: Some((14, 200)) }.since(&before);
        assert_eq!(facts[0].what, "some task waited for a CPU for 5 ms meanwhile");
        assert_eq!((facts[1].what.as_str(), facts[1].but.is_some()), ("10.0 % of the CPU time meanwhile", true));
        assert_eq!(Pressure::default().since(&before), []);
    }

    #[test]
    fn limits_of_control_groups_are_found_in_both_versions() {
        let folder = std::env::temp_dir().join(format!("fieldrig-cgroup-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a/b")).expect("a folder");
        std::fs::create_dir_all(folder.join("cpu,cpuacct/c")).expect("a folder");
        std::fs::write(folder.join("a/b/cpu.max"), "50000 100000\n").expect("a file");
        std::fs::write(folder.join("cpu,cpuacct/c/cpu.rt_runtime_us"), "0\n").expect("a file");
        let found = control_group("0::/a/b\n3:cpu,cpuacct:/c\n2:memory:/c\n", &folder);
        let texts: Vec<&str> = found.iter().map(|fact| fact.what.as_str()).collect();
        assert_eq!(texts, ["50000 us of CPU time in 100000 us", "cpu.rt_runtime_us is 0"]);
        assert_eq!(control_group("0::/nowhere\n", &folder), []);
        std::fs::remove_dir_all(&folder).expect("it was made here");
    }

    #[test]
    fn containers_are_told_by_their_marks() {
        assert_eq!(container(&|path| path == "/.dockerenv", ""), Some("Docker"));
        assert_eq!(container(&|_| false, "0::/kubepods/x\n"), Some("Kubernetes"));
        assert_eq!(container(&|_| false, "0::/user.slice\n"), None);
    }
}
