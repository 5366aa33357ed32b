//! Who admits: a lease if it has what is wanted, else the limit service. The exchange cannot tell the two apart.

use crate::effect::{Effect, Effects};
use crate::event::{Event, Now};
use crate::exchange::{Exchange, World};
use crate::lease::LeaseBook;

impl Exchange {
    /// As [`Self::step`]; a reservation that a lease covers is answered at once.
    pub fn step_with_leases(
        self,
        event: Event<'_>,
        world: World<'_>,
        now: Now,
        leases: &mut LeaseBook,
    ) -> (Self, Effects) {
        let (exchange, mut effects) = self.step(event, world, now);
        let Some(Effect::Reserve(call)) = effects.list.last() else {
            return (exchange, effects);
        };
        let Some(reserved) = leases.draw(call, now) else {
            return (exchange, effects);
        };
        effects.list.pop();
        let (exchange, admitted) = exchange.step(Event::ReserveAnswered(reserved), world, now);
        effects.flow = admitted.flow;
        // Nothing was paused, and the lease is what is open and was seen.
        let is_moot = |effect: &Effect| {
            matches!(
                effect,
                Effect::ResumeRequest | Effect::Opened { .. } | Effect::Seen { .. }
            )
        };
        effects
            .list
            .extend(admitted.list.into_iter().filter(|effect| !is_moot(effect)));
        (exchange, effects)
    }
}
