//! What a pick needs, published as one immutable value.

use std::fmt;
use std::sync::Arc;

use super::Member;
use crate::picker::{Algorithm, Picker, Query, Trace};

/// The eligible members and the picker that was built for them. It never changes under its reader.
pub struct Snapshot {
    members: Box<[Arc<Member>]>,
    picker: Box<dyn Picker>,
}

impl Snapshot {
    pub(crate) fn new(
        members: Vec<Arc<Member>>,
        by: &dyn Algorithm,
        before: Option<&Snapshot>,
    ) -> Self {
        let picker = by.build(&members, before.map(|before| &*before.picker));
        Self {
            members: members.into(),
            picker,
        }
    }

    /// The eligible members, in file order.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The choice for one attempt, not yet counted anywhere.
    pub(crate) fn pick(&self, query: &Query<'_>) -> Option<&Arc<Member>> {
        self.members.get(self.picker.pick(query)?)
    }

    /// What a pick would choose now, and why.
    pub fn explain(&self, query: &Query<'_>) -> Trace {
        self.picker.explain(query)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.members.iter().map(|member| member.name());
        f.debug_list().entries(names).finish()
    }
}
