//! What each Unix user may take: requests in flight, requests and bytes a second. Who takes too much waits; nobody else does.
//!
//! The counts belong to the user, whatever number of connections it has, and outlive them: who closes a connection and opens
//! another one has what was left, and no new share. A connection whose user has used its share up is not
//! read from until there is some again, so that a flood stands in the peer's own socket buffers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::config::Limits;

/// A user may take so many seconds' share at once, after a rest.
const BURST_SECONDS: u64 = 4;

/// The quotas of all users that are connected, or were and have not yet rested.
#[derive(Clone)]
pub struct Quotas {
    limits: Limits,
    by_user: Arc<Mutex<HashMap<u32, Arc<Quota>>>>,
}

/// One user's quota, shared by its connections.
pub struct Quota {
    in_flight: Arc<Semaphore>,
    places: usize,
    requests: Mutex<Bucket>,
    bytes: Mutex<Bucket>,
}

impl Quotas {
    /// The quotas of the configuration.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), by_user: Arc::default() }
    }

    /// The quota of a user; it is forgotten when the user has no connection and a new quota would be no better.
    #[must_use]
    pub fn of(&self, uid: u32) -> Arc<Quota> {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = by_user.get(&uid) {
            return Arc::clone(quota);
        }
        let now = Instant::now();
        by_user.retain(|_, quota| Arc::strong_count(quota) > 1 || !quota.rested(now));
        let quota = Arc::new(Quota::new(&self.limits));
        by_user.insert(uid, Arc::clone(&quota));
        quota
    }
}

impl Quota {
    /// A quota that nothing was taken of.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        let in_flight = usize::try_from(limits.user_requests_in_flight).unwrap_or(usize::MAX);
        let places = in_flight.min(Semaphore::MAX_PERMITS);
        let bytes = u64::from(limits.user_kib_per_second).saturating_mul(1024);
        Self {
            in_flight: Arc::new(Semaphore::new(places)),
            places,
            requests: Mutex::new(Bucket::new(limits.user_requests_per_second.into(), now)),
            bytes: Mutex::new(Bucket::new(bytes, now)),
        }
    }

    /// Waits until the user may make one more request. To be called before anything of it is read.
    pub async fn wait(&self) {
        loop {
            let now = Instant::now();
            let at = lock(&self.requests).ready_at(now).max(lock(&self.bytes).ready_at(now));
            if at <= now {
                break;
            }
            sleep_until(at).await;
        }
        lock(&self.requests).take(1);
    }

    /// Counts the bytes of a request that was read, or of an answer: what is too much is waited for before the next one.
    pub fn took(&self, bytes: usize) {
        lock(&self.bytes).take(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// A place for a request's work; nothing when the user has as many at work as it may.
    #[must_use]
    pub fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.in_flight).try_acquire_owned().ok()
    }

    /// Whether a quota that nothing was taken of would be the same.
    fn rested(&self, now: Instant) -> bool {
        self.in_flight.available_permits() == self.places
            && lock(&self.requests).is_full(now)
            && lock(&self.bytes).is_full(now)
    }
}

fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bucket that fills at a rate, and may be in debt: what is taken is known only once it was read.
struct Bucket {
    per_second: u64,
    /// In millionths, so that slow rates fill as well.
    level: i128,
    at: Instant,
}

const MILLION: i128 = 1_000_000;

impl Bucket {
    fn new(per_second: u64, now: Instant) -> Self {
        let empty = Self { per_second, level: 0, at: now };
        Self { level: empty.full(), ..empty }
    }

    fn full(&self) -> i128 {
        i128::from(self.per_second.saturating_mul(BURST_SECONDS)).saturating_mul(MILLION)
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level >= self.full()
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let gained = i128::try_from(passed).unwrap_or(i128::MAX).saturating_mul(self.per_second.into());
        self.level = self.level.saturating_add(gained).min(self.full());
        self.at = now;
    }

    /// When something may be taken.
    fn ready_at(&mut self, now: Instant) -> Instant {
        self.fill(now);
        let missing = MILLION.saturating_sub(self.level);
        if missing <= 0 {
            return now;
        }
        let rate = i128::from(self.per_second.max(1));
        let micros = u64::try_from(missing.saturating_add(rate - 1) / rate).unwrap_or(u64::MAX);
        now.checked_add(Duration::from_micros(micros)).unwrap_or(now)
    }

    fn take(&mut self, amount: u64) {
        self.level = self.level.saturating_sub(i128::from(amount).saturating_mul(MILLION));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            user_requests_in_flight: 2,
            user_requests_per_second: 10,
            user_kib_per_second: 1,
            ..Limits::default()
        }
    }

    #[test]
    fn a_share_comes_at_its_rate_and_four_seconds_of_it_at_once() {
        let begun = Instant::now();
        let after = |milliseconds| begun + Duration::from_millis(milliseconds);
        let mut bucket = Bucket::new(10, begun);
        for _ in 0..40 {
            assert_eq!(bucket.ready_at(begun), begun);
            bucket.take(1);
        }
        assert_eq!(bucket.ready_at(begun), after(100), "a tenth of a second for the next one");
        assert_eq!(bucket.ready_at(after(100)), after(100));
        bucket.take(21);
        assert_eq!(bucket.ready_at(after(100)), after(2_200), "a debt is waited for");
        assert_eq!(bucket.ready_at(after(1_000_000)), after(1_000_000));
        for _ in 0..40 {
            bucket.take(1);
        }
        assert_eq!(bucket.ready_at(after(1_000_000)), after(1_000_100), "a long rest gives no more");
    }

    #[tokio::test]
    async fn so_many_are_at_work_and_a_user_that_is_gone_is_forgotten() {
        let quotas = Quotas::new(&limits());
        let known = || quotas.by_user.lock().unwrap().len();
        let quota = quotas.of(1);
        assert!(Arc::ptr_eq(&quota, &quotas.of(1)), "all connections of a user share one");
        let (first, second) = (quota.begin().unwrap(), quota.begin().unwrap());
        assert!(quota.begin().is_none());
        drop(first);
        assert!(quota.begin().is_some());
        drop(quota);
        drop(quotas.of(2));
        let _third = quotas.of(3);
        assert_eq!(known(), 2, "the first one's work goes on, the second one has rested");
        assert!(quotas.of(1).begin().is_some() && second.num_permits() == 1);
        drop(second);
        let _fourth = quotas.of(4);
        assert_eq!(known(), 2, "the third and the fourth");
    }

    #[tokio::test]
    async fn a_new_connection_gives_no_new_share() {
        let quotas = Quotas::new(&limits());
        let begun = Instant::now();
        let mut requests = 0_u32;
        while begun.elapsed() < Duration::from_millis(500) && requests < 1000 {
            // Each request by a connection of its own, and another user's in between.
            quotas.of(1).wait().await;
            drop(quotas.of(2));
            requests += 1;
        }
        // Four seconds' share at once, and that of the time that has passed.
        let most = 40.0 + begun.elapsed().as_secs_f64() * 10.0 + 1.0;
        assert!(requests >= 40 && f64::from(requests) <= most, "{requests} requests, {most} at most");
        // The same with bytes: a debt is waited for.
        let begun = Instant::now();
        quotas.of(3).took(4 * 1024 + 512);
        drop(quotas.of(2));
        quotas.of(3).wait().await;
        assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    }
}
