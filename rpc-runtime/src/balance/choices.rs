//! Draws a few backends and takes the best: what power of two choices and least request share.
//!
//! Why two and not all? The best of all is the same one for every client, which then is overrun; the
//! better of two random ones is nearly as good, and different each time (Mitzenmacher, "The power of
//! two choices in randomized load balancing", 1996).
//!
//! A backend that has many calls in flight is remembered: the one picked last is compared with those
//! drawn (Mitzenmacher, Prabhakar, Shah, "Load balancing with memory", 2002). Calls that are
//! made one after the other then stay together, which is what makes writes large: a server whose
//! answers came together is the least loaded until they are replaced. Nobody waits longer for it.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::alias::Draw;
use super::resort::resort_to_any;
use super::{Admission, Backend, Dice, List, Pick, Picked, Picker, TRIES};

/// How loaded a backend is: the lower, the better.
pub(super) trait Score: std::fmt::Debug + Send + Sync {
    /// `in_flight` are its calls, relative to its weight.
    fn score(&self, backend: &Backend, in_flight: f64, pick: &Pick<'_>) -> f64;
}

/// Draws by weight, and compares by score.
///
/// Weights go into the drawing, so that they hold while there is nothing to compare; and into the
/// score, where twice the weight may have twice the calls in flight.
#[derive(Debug)]
pub(super) struct Choices<S> {
    list: List,
    draw: Draw,
    /// Mean weight by weight; empty if all are the same.
    relief: Box<[f64]>,
    choices: usize,
    score: S,
    /// What was picked the last time, by any thread.
    last: AtomicUsize,
}

/// Where weights differ, the second has to be better than the first by this factor. So the drawing
/// decides among equals, and weights hold; and yet a slow one does not get calls only because it is
/// heavy.
const AGAINST_FIRST: f64 = 2.0;

/// Calls in flight from which on a backend is remembered. With fewer, the calls of this client say too
/// little about its load: of hundreds of clients, each would stay with what was quick for all.
const MEMORABLE: u32 = 8;

impl<S: Score> Choices<S> {
    pub(super) fn new(list: List, choices: usize, score: S) -> Self {
        let draw = Draw::new(&list);
        let weights = list.iter().map(|backend| f64::from(backend.weight()));
        let mean = weights.clone().sum::<f64>() / list.len().max(1) as f64;
        let relief = match draw {
            Draw::Even(_) => Box::default(),
            Draw::ByWeight(_) => weights.map(|weight| mean / weight).collect(),
        };
        Self {
            choices: choices.min(list.len()),
            list,
            draw,
            relief,
            score,
            last: AtomicUsize::new(0),
        }
    }

    /// Another backend than the best so far, and what its score is multiplied by.
    #[inline]
    fn draw(&self, dice: &mut Dice, best: Option<usize>) -> (usize, f64) {
        let index = self.draw.index(dice);
        let Some(best) = best else {
            return (index, 1.0);
        };
        let handicap = if self.relief.is_empty() {
            1.0
        } else {
            AGAINST_FIRST
        };
        if index == best {
            return (dice.below_except(self.list.len(), best), handicap);
        }
        (index, handicap)
    }

    /// The backend picked the last time, unless the best of those drawn is better.
    #[inline]
    fn stay(&self, best: usize, least: f64, pick: &Pick<'_>) -> usize {
        let last = self.last.load(Relaxed);
        if last == best {
            return best;
        }
        let backend = &*self.list[last];
        if backend.in_flight() >= MEMORABLE
            && self.score(last, pick) <= least
            // Not asked to admit the call: a probe must not be promised and then not sent.
            && backend.is_open()
            && !pick.was_tried(backend)
        {
            return last;
        }
        self.last.store(best, Relaxed);
        best
    }

    #[inline]
    fn score(&self, index: usize, pick: &Pick<'_>) -> f64 {
        let backend = &*self.list[index];
        let relief = self.relief.get(index).copied().unwrap_or(1.0);
        let in_flight = f64::from(backend.in_flight()) * relief;
        self.score.score(backend, in_flight, pick)
    }
}

impl<S: Score> Picker for Choices<S> {
    #[inline]
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let mut dice = pick.dice();
        let mut best: Option<(usize, f64)> = None;
        let mut drawn = 0;
        let mut tries = TRIES + self.choices;
        while drawn < self.choices && tries > 0 {
            tries -= 1;
            let (index, handicap) = self.draw(&mut dice, best.map(|(index, _)| index));
            match pick.admit(&self.list[index]) {
                Admission::Open => {}
                Admission::Probe => return Some(Picked::at(index)),
                Admission::Closed => continue,
            }
            drawn += 1;
            let score = self.score(index, pick) * handicap;
            if best.is_none_or(|(_, least)| score < least) {
                best = Some((index, score));
            }
        }
        if let Some((index, least)) = &mut best
            && self.relief.is_empty()
        {
            *index = self.stay(*index, *least, pick);
        }
        match best {
            Some((index, _)) => Some(Picked::at(index)),
            None => resort_to_any(&self.list, pick, dice),
        }
    }
}
