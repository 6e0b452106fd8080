//! Who gets the next request: the policies, each a function of what can be chosen from. No clock, no locks; chance is
//! `fastrand`'s.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that can take a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Its place in the upstream.
    pub(super) index: usize,
    /// Its weight, as far as it gets it now.
    pub(super) weight: f64,
    /// Requests and streams under way at it.
    pub(super) live: usize,
    /// What names it in [`highest`].
    pub(super) key: u64,
}

impl Choice {
    fn load(&self) -> f64 {
        self.live as f64 / self.weight
    }
}

/// Turns in a [`Schedule`] at most. Weights that need more are rounded.
const MAX_TURNS: u64 = 4096;

/// Whose turn it is, for ever: a server of weight 3 has three turns for one of a server of weight 1, and they are
/// spread evenly.
#[derive(Debug)]
pub(super) struct Schedule {
    order: Box<[u16]>,
    turn: AtomicUsize,
}

impl Schedule {
    /// For servers of these weights. It begins somewhere at random, so that many workers or nodes that start together do
    /// not all begin with the first server.
    pub(super) fn new(weights: &[u32]) -> Self {
        let order = turns(&reduced(weights));
        let turn = AtomicUsize::new(fastrand::usize(..order.len().max(1)));
        Self { order, turn }
    }

    /// Turns until it repeats.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The next turn's server. A server that cannot take its turn is passed over by asking again: the others then share its
    /// turns by their weights.
    pub(super) fn next(&self) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(self.order.len())?;
        Some(usize::from(self.order[turn]))
    }
}

/// Small weights of the same proportions, each at least 1.
fn reduced(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let weights: Vec<u64> = weights.iter().map(|w| u64::from(w / divisor)).collect();
    let sum: u64 = weights.iter().sum();
    if sum <= MAX_TURNS {
        return weights;
    }
    weights
        .iter()
        .map(|weight| (weight * MAX_TURNS / sum).max(1))
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The smooth order: at each step everybody earns its weight, and the richest has the turn and pays what all earned.
fn turns(weights: &[u64]) -> Box<[u16]> {
    let sum: u64 = weights.iter().sum();
    let mut credit = vec![0_i128; weights.len()];
    let step = |_step: u64| {
        for (credit, weight) in credit.iter_mut().zip(weights) {
            *credit += i128::from(*weight);
        }
        // The first of equals, as in the file.
        let richest = (0..credit.len()).rev().max_by_key(|index| credit[*index])?;
        credit[richest] -= i128::from(sum);
        u16::try_from(richest).ok()
    };
    (0..sum).filter_map(step).collect()
}

/// The one with the fewest under way for its weight; among equals one drawn by weight.
pub(super) fn least_loaded(choices: impl Iterator<Item = Choice>) -> Option<usize> {
    let mut best: Option<Choice> = None;
    let mut equals = 0.0;
    for choice in choices {
        let (load, so_far) = (
            choice.load(),
            best.map_or(f64::INFINITY, |best| best.load()),
        );
        if load < so_far {
            (best, equals) = (Some(choice), choice.weight);
        } else if load <= so_far {
            // Each of the equals so far stands with the odds of its own weight.
            equals += choice.weight;
            if fastrand::f64() * equals < choice.weight {
                best = Some(choice);
            }
        }
    }
    best.map(|best| best.index)
}

/// The less loaded of two that are drawn by weight (Mitzenmacher 2001): nearly as even as looking at all of them, and
/// no herd runs to the one that is empty just now.
pub(super) fn better_of_two(choices: impl Iterator<Item = Choice> + Clone) -> Option<usize> {
    let first = drawn(choices.clone())?;
    let others = choices.filter(|choice| choice.index != first.index);
    let Some(second) = drawn(others) else {
        return Some(first.index);
    };
    let better = if second.load() < first.load() {
        second
    } else {
        first
    };
    Some(better.index)
}

/// One at random, by weight.
pub(super) fn drawn(choices: impl Iterator<Item = Choice> + Clone) -> Option<Choice> {
    let sum: f64 = choices.clone().map(|choice| choice.weight).sum();
    let mut left = fastrand::f64() * sum;
    let mut last = None;
    for choice in choices {
        left -= choice.weight;
        last = Some(choice);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// The one that scores highest with this client: weighted rendezvous hashing. When a server leaves, only its own clients
/// move; when one comes, it takes its share from all alike.
pub(super) fn highest(client: u64, choices: impl Iterator<Item = Choice>) -> Option<usize> {
    let score = |choice: &Choice| {
        // Between 0 and 1, neither included: 53 bits are what a float holds exactly.
        let bits = mixed(client ^ choice.key) >> 11;
        let uniform = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
        -choice.weight / uniform.ln()
    };
    let scored = choices.map(|choice| (score(&choice), choice.index));
    scored
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_score, index)| index)
}

/// What stands for a client in [`highest`]: its IPv4 address, or the /64 of its IPv6 address, for a host may use all
/// addresses of that.
pub(super) fn client_key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => mixed(u64::from(address.to_bits()) | 1 << 63),
        IpAddr::V6(address) => mixed((address.to_bits() >> 64) as u64),
    }
}

/// A key for a server's name: the same on every node and after every restart (FNV-1a).
pub(super) fn name_key(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mixed(name.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Spreads the bits (the finaliser of SplitMix64).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(servers: &[(f64, usize)]) -> Vec<Choice> {
        let choice = |(index, (weight, live)): (usize, &(f64, usize))| Choice {
            index,
            weight: *weight,
            live: *live,
            key: name_key(&format!("10.0.0.{index}:80")),
        };
        servers.iter().enumerate().map(choice).collect()
    }

    fn counted(count: usize, draws: usize, mut draw: impl FnMut() -> usize) -> Vec<usize> {
        let mut counts = vec![0; count];
        (0..draws).for_each(|_| counts[draw()] += 1);
        counts
    }

    #[test]
    fn turns_follow_the_weights_and_are_spread() {
        assert_eq!(*turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*turns(&[1, 1]), [0, 1]);
        assert_eq!(reduced(&[300, 200, 100]), [3, 2, 1]);
        let large = reduced(&[1000, 999, 998, 997, 991, 983]);
        assert!(large.iter().sum::<u64>() <= MAX_TURNS, "{large:?}");
        let schedule = Schedule::new(&[3, 1]);
        let counts = counted(2, 400, || schedule.next().unwrap());
        assert_eq!(counts, [300, 100]);
        assert_eq!(Schedule::new(&[]).next(), None);
    }

    #[test]
    fn the_turns_of_a_server_that_is_passed_over_go_to_all_by_weight() {
        let schedule = Schedule::new(&[3, 1, 4]);
        let next = || std::iter::from_fn(|| schedule.next()).find(|index| *index != 2);
        let counts = counted(3, 400, || next().unwrap());
        assert_eq!(counts, [300, 100, 0]);
    }

    #[test]
    fn the_least_loaded_for_its_weight_gets_it() {
        let table = [
            (vec![(1.0, 2), (1.0, 1), (1.0, 3)], 1),
            (vec![(1.0, 2), (4.0, 7), (1.0, 3)], 1),
            (vec![(2.0, 2), (4.0, 5)], 0),
        ];
        for (servers, expected) in table {
            assert_eq!(least_loaded(choices(&servers).into_iter()), Some(expected));
        }
        assert_eq!(least_loaded(std::iter::empty()), None);
        let equals = choices(&[(1.0, 0), (3.0, 0), (1.0, 1)]);
        let counts = counted(3, 8000, || least_loaded(equals.iter().copied()).unwrap());
        assert!(
            (1700..2300).contains(&counts[0]) && counts[2] == 0,
            "{counts:?}"
        );
    }

    #[test]
    fn of_two_drawn_the_less_loaded_gets_it() {
        let servers = choices(&[(1.0, 0), (1.0, 9), (1.0, 5)]);
        let counts = counted(3, 9000, || better_of_two(servers.iter().copied()).unwrap());
        // The busiest never wins; the idle one wins whenever it is drawn: two times of three.
        assert!(
            counts[1] == 0 && (5600..6400).contains(&counts[0]),
            "{counts:?}"
        );
        let weighted = choices(&[(3.0, 0), (1.0, 0)]);
        let counts = counted(2, 8000, || better_of_two(weighted.iter().copied()).unwrap());
        assert!((5600..6400).contains(&counts[0]), "{counts:?}");
        assert_eq!(better_of_two(weighted[..1].iter().copied()), Some(0));
    }

    #[test]
    fn a_server_that_leaves_moves_its_own_clients_only() {
        let servers = choices(&[(1.0, 0), (1.0, 0), (2.0, 0)]);
        let clients = || (0..4000_u32).map(|bits| client_key(IpAddr::from(bits.to_be_bytes())));
        let mut counts = [0; 3];
        for client in clients() {
            let before = highest(client, servers.iter().copied()).unwrap();
            counts[before] += 1;
            let after = highest(client, servers.iter().copied().filter(|c| c.index != 1)).unwrap();
            assert!(before == 1 || after == before);
        }
        for (count, expected) in counts.into_iter().zip([1000, 1000, 2000]) {
            assert!(
                (expected - 150..expected + 150).contains(&count),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn a_client_is_its_address_or_its_64() {
        let key = |text: &str| client_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
