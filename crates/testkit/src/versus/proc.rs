//! What the kernel says of a process and its descendants: processor time and memory, out of `/proc`.

use std::collections::HashMap;
use std::fs;

/// Processor time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    pub(super) user_us: f64,
    pub(super) system_us: f64,
}

impl Cpu {
    /// What was used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            user_us: self.user_us - before.user_us,
            system_us: self.system_us - before.system_us,
        }
    }

    /// Both together.
    pub(super) fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
    /// Those of children that have ended and were waited for.
    ended_user_ticks: u64,
    ended_system_ticks: u64,
}

/// proc(5): the second field is a name in parentheses that may contain anything, `)` and spaces, too.
fn stat(text: &str) -> Option<Stat> {
    let rest = text.rsplit_once(')')?.1;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut ticks = fields.skip(9).map(str::parse);
    Some(Stat {
        parent,
        user_ticks: ticks.next()?.ok()?,
        system_ticks: ticks.next()?.ok()?,
        ended_user_ticks: ticks.next()?.ok()?,
        ended_system_ticks: ticks.next()?.ok()?,
    })
}

fn read_stat(id: &str) -> Option<Stat> {
    stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// A process and all its descendants, parents before children.
pub(super) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        if let (Ok(number), Some(stat)) = (id.parse(), read_stat(id)) {
            children.entry(stat.parent).or_default().push(number);
        }
    }
    descend(root, &children)
}

fn descend(root: u32, children: &HashMap<u32, Vec<u32>>) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        found.extend(children.get(parent).into_iter().flatten());
        at += 1;
    }
    found
}

fn microseconds(user_ticks: u64, system_ticks: u64) -> Cpu {
    let tick = 1e6 / rustix::param::clock_ticks_per_second() as f64;
    Cpu {
        user_us: user_ticks as f64 * tick,
        system_us: system_ticks as f64 * tick,
    }
}

/// The processor time that a process and its living descendants have used.
pub(super) fn cpu(root: u32) -> Cpu {
    let stats = tree(root)
        .into_iter()
        .filter_map(|id| read_stat(&id.to_string()));
    let (user, system) = stats.fold((0, 0), |(user, system), stat| {
        (user + stat.user_ticks, system + stat.system_ticks)
    });
    microseconds(user, system)
}

/// The processor time that this process has used itself, and that of its children that have ended.
pub(super) fn own_cpu() -> (Cpu, Cpu) {
    read_stat("self").map_or_else(Default::default, |stat| {
        (
            microseconds(stat.user_ticks, stat.system_ticks),
            microseconds(stat.ended_user_ticks, stat.ended_system_ticks),
        )
    })
}

/// The memory of a process and its descendants in KiB, pages that they share counted once.
pub(super) fn memory_kib(root: u32) -> u64 {
    let rollup = |id| fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok();
    tree(root)
        .into_iter()
        .filter_map(|id| proportional_kib(&rollup(id)?))
        .sum()
}

fn proportional_kib(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name_of_the_process() {
        for name in ["nginx", "a b", "x) S 1 2", ""] {
            let line =
                format!("42 ({name}) S 7 42 42 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 99 0 0");
            let wanted = Stat {
                parent: 7,
                user_ticks: 11,
                system_ticks: 12,
                ended_user_ticks: 13,
                ended_system_ticks: 14,
            };
            assert_eq!(stat(&line), Some(wanted), "{name}");
        }
        for broken in [
            "",
            "42 nginx S 7",
            "42 (nginx) S 7 42 42 0",
            "42 (nginx) S x",
        ] {
            assert_eq!(stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_proportional_share_is_found_among_its_kin() {
        let rollup = "55d-7ff ---p 00000000 00:00 0    [rollup]\nRss:    2048 kB\nPss:    1234 kB\nPss_Anon:  99 kB\n";
        assert_eq!(proportional_kib(rollup), Some(1234));
        assert_eq!(proportional_kib("Rss: 1 kB\n"), None);
    }

    #[test]
    fn descendants_are_found_to_the_last() {
        let children = HashMap::from([(1, vec![2, 3]), (3, vec![4]), (9, vec![8])]);
        assert_eq!(descend(1, &children), [1, 2, 3, 4]);
        assert_eq!(descend(5, &children), [5]);
    }

    #[test]
    fn this_process_is_its_own_root_and_uses_time_and_memory() {
        let own = std::process::id();
        assert_eq!(tree(own)[0], own);
        assert!(memory_kib(own) > 0);
        let before = cpu(own);
        while cpu(own).since(before).total_us() == 0.0 {
            std::hint::black_box(0_u64);
        }
        assert!(own_cpu().0.total_us() > 0.0);
    }
}
