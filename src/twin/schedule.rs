//! Which parts come, when, and what goes wrong with each: drawn from a seed, part by part, so that one fault more changes no other part.
//! Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, SeedableRng, seq::index::sample};
use rand_chacha::ChaCha8Rng;

/// How fast parts come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many per second, whatever the station does. Above 0.
    PerSecond(f64),
    /// The next part comes as soon as the station is ready for it.
    Max,
}

impl Rate {
    /// From one part to the next; zero at [`Self::Max`].
    pub fn interval(self) -> Duration {
        match self {
            Self::PerSecond(rate) => Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::ZERO),
            Self::Max => Duration::ZERO,
        }
    }
}

/// How probable each fault is for a part, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// The frame never arrives; the camera counts it.
    pub frame_missed: f64,
    /// The frame arrives after the next part's.
    pub frame_late: f64,
    /// The frame arrives twice.
    pub frame_duplicate: f64,
    /// The frame and the next part's arrive in the wrong order, each with its true time and number.
    pub frames_swapped: f64,
    /// The PLC triggers the same block twice.
    pub trigger_duplicate: f64,
    /// Trigger goes 1 0 1 within a scan.
    pub trigger_bounce: f64,
    /// `CycleId` and its tail are written before and after the trigger.
    pub torn_write: f64,
    /// The PLC restarts after the trigger.
    pub plc_restart: f64,
    /// The station's process stands still for a moment after the trigger.
    pub engine_slow: f64,
    /// The station is killed after the trigger and started again.
    pub station_kill: f64,
    /// So many parts, drawn at random, are followed by a kill of the station, besides those of `station_kill`.
    pub kills: u32,
    /// So many parts are followed by a kill of the historian.
    pub historian_kills: u32,
    /// So many parts are followed by a cut of the network to the historian.
    pub network_cuts: u32,
    /// So many parts are followed by a question for another model, good or bad.
    pub model_swaps: u32,
}

/// What happens to a part's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameFault {
    /// It never arrives.
    Missed,
    /// It arrives well after the next part's.
    Late,
    /// It arrives twice.
    Duplicate,
    /// It arrives right after the next part's.
    Swapped,
}

/// What the PLC does wrong with a part's trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriggerFault {
    /// The same block is triggered twice.
    Duplicate,
    /// Trigger goes 1 0 1 within a scan.
    Bounce,
    /// `CycleId` and its tail are written apart.
    Torn,
}

/// What happens to the machines some time after the part's trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineFault {
    /// The PLC restarts.
    PlcRestart,
    /// The station's process stands still.
    StationSlow,
    /// The station is killed and started again.
    StationKill,
    /// The historian is killed and started again.
    HistorianKill,
    /// The network to the historian is cut for a while.
    NetworkCut,
    /// The station is asked for another model.
    ModelSwap,
}

impl MachineFault {
    /// Whether station or PLC suffer it: one of these at a time.
    fn hits_station(self) -> bool {
        !matches!(self, Self::HistorianKill | Self::NetworkCut | Self::ModelSwap)
    }
}

/// One part that comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its number, from 1; the number in its stamp.
    pub number: u32,
    /// When it arrives, after the first.
    pub arrives: Duration,
    /// Encoder position at its arrival.
    pub encoder: u32,
    /// Whether it has a defect.
    pub defective: bool,
    /// Which picture of its kind it looks like; to be taken modulo their number.
    pub picture: u32,
    /// What happens to its frame.
    pub frame_fault: Option<FrameFault>,
    /// What the PLC does wrong.
    pub trigger_fault: Option<TriggerFault>,
    /// What happens to the machines, how long after the trigger.
    pub machine_faults: Vec<(MachineFault, Duration)>,
}

/// What a schedule is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// How many parts come, at least 1.
    pub count: u32,
    /// How fast.
    pub rate: Rate,
    /// The same seed draws the same parts and faults.
    pub seed: u64,
    /// Share of parts with a defect, in [0, 1].
    pub defect_share: f64,
    /// Encoder counts from part to part.
    pub pitch: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// Machine faults happen within this time after the trigger.
    pub fault_window: Duration,
}

/// All parts of a run.
#[derive(Debug, Clone)]
pub struct Schedule {
    plan: Plan,
    encoder_origin: u32,
    /// Moments of the faults that were asked for by number.
    counted: BTreeMap<u32, Vec<(MachineFault, Duration)>>,
}

impl Schedule {
    /// Draws what concerns the run as a whole.
    pub fn new(plan: Plan) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
        let encoder_origin = random.random();
        let mut counted: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        let wanted = [
            (MachineFault::StationKill, plan.faults.kills),
            (MachineFault::HistorianKill, plan.faults.historian_kills),
            (MachineFault::NetworkCut, plan.faults.network_cuts),
            (MachineFault::ModelSwap, plan.faults.model_swaps),
        ];
        for (fault, count) in wanted {
            for index in sample(&mut random, plan.count as usize, count.min(plan.count) as usize) {
                let moment = moment(&mut random, plan.fault_window);
                counted.entry(index as u32 + 1).or_default().push((fault, moment));
            }
        }
        Self {
            plan,
            encoder_origin,
            counted,
        }
    }

    /// How many parts come.
    pub fn count(&self) -> u32 {
        self.plan.count
    }

    /// Part `number`, from 1.
    pub fn part(&self, number: u32) -> Part {
        let plan = &self.plan;
        let faults = &plan.faults;
        let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
        random.set_stream(u64::from(number));
        // Every part draws the same number of times, whatever is drawn.
        let defective = random.random_bool(share(plan.defect_share));
        let picture = random.random();
        let mut hits = |probability: f64| random.random_bool(share(probability));
        let frame_faults = [
            (hits(faults.frame_missed), FrameFault::Missed),
            (hits(faults.frame_late), FrameFault::Late),
            (hits(faults.frame_duplicate), FrameFault::Duplicate),
            (hits(faults.frames_swapped), FrameFault::Swapped),
        ];
        let trigger_faults = [
            (hits(faults.trigger_duplicate), TriggerFault::Duplicate),
            (hits(faults.trigger_bounce), TriggerFault::Bounce),
            (hits(faults.torn_write), TriggerFault::Torn),
        ];
        let machine_faults = [
            (hits(faults.station_kill), MachineFault::StationKill),
            (hits(faults.plc_restart), MachineFault::PlcRestart),
            (hits(faults.engine_slow), MachineFault::StationSlow),
        ];
        let after = moment(&mut random, plan.fault_window);
        let drawn = first(&machine_faults).map(|fault| (fault, after));
        let counted = self.counted.get(&number).into_iter().flatten().copied();
        let machine_faults: Vec<_> = counted
            .clone()
            .chain(drawn.filter(|_| counted.clone().all(|(fault, _)| !fault.hits_station())))
            .collect();
        Part {
            number,
            arrives: plan.rate.interval() * (number.saturating_sub(1)),
            encoder: self.encoder_origin.wrapping_add(plan.pitch.wrapping_mul(number)),
            defective,
            picture,
            frame_fault: first(&frame_faults),
            trigger_fault: first(&trigger_faults),
            machine_faults,
        }
    }
}

fn share(probability: f64) -> f64 {
    if probability.is_finite() {
        probability.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn moment(random: &mut ChaCha8Rng, within: Duration) -> Duration {
    within.mul_f64(random.random_range(0.0..1.0))
}

/// The first that was hit: a part has at most one fault of a kind.
fn first<T: Copy>(faults: &[(bool, T)]) -> Option<T> {
    faults.iter().find(|(hit, _)| *hit).map(|(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan() -> Plan {
        Plan {
            count: 400,
            rate: Rate::PerSecond(20.0),
            seed: 7,
            defect_share: 0.25,
            pitch: 1000,
            faults: Faults::default(),
            fault_window: Duration::from_millis(200),
        }
    }

    fn parts(plan: Plan) -> Vec<Part> {
        let schedule = Schedule::new(plan);
        (1..=plan.count).map(|number| schedule.part(number)).collect()
    }

    #[test]
    fn parts_come_at_the_rate_and_the_pitch_with_the_share_of_defects() {
        let parts = parts(plan());
        assert_eq!(parts[40].arrives, Duration::from_secs(2));
        assert!(parts.windows(2).all(|pair| pair[1].encoder.wrapping_sub(pair[0].encoder) == 1000));
        let defective = parts.iter().filter(|part| part.defective).count();
        assert!((60..=140).contains(&defective), "{defective} of 400");
        assert!(
            parts
                .iter()
                .all(|part| part.frame_fault.is_none() && part.trigger_fault.is_none() && part.machine_faults.is_empty())
        );
    }

    #[test]
    fn a_fault_more_changes_nothing_else() {
        let faulty = Plan {
            faults: Faults {
                frame_missed: 0.3,
                ..Faults::default()
            },
            ..plan()
        };
        let (calm, faulty) = (parts(plan()), parts(faulty));
        assert!(faulty.iter().any(|part| part.frame_fault == Some(FrameFault::Missed)));
        for (calm, faulty) in calm.iter().zip(faulty) {
            assert_eq!(
                *calm,
                Part {
                    frame_fault: None,
                    ..faulty
                }
            );
        }
    }

    #[test]
    fn exactly_as_many_kills_as_asked_for() {
        let kills = Plan {
            faults: Faults {
                kills: 50,
                ..Faults::default()
            },
            ..plan()
        };
        let killed = parts(kills);
        let moments: Vec<Duration> = killed
            .iter()
            .flat_map(|part| part.machine_faults.iter().map(|(_, after)| *after))
            .collect();
        assert_eq!(moments.len(), 50);
        assert!(moments.iter().all(|after| *after < Duration::from_millis(200)));
    }

    #[test]
    fn at_full_rate_every_part_is_there_at_once() {
        let all = parts(Plan { rate: Rate::Max, ..plan() });
        assert!(all.iter().all(|part| part.arrives == Duration::ZERO));
    }

    proptest! {
        #[test]
        fn the_same_seed_draws_the_same_parts(seed: u64, number in 1_u32..1000) {
            let plan = Plan { seed, count: 1000, ..plan() };
            prop_assert_eq!(Schedule::new(plan).part(number), Schedule::new(plan).part(number));
        }
    }
}
