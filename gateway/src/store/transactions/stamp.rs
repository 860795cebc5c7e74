//! The transaction that says nothing: whether the store can be written.

use crate::store::{
    commands::Stamp,
    tables::{Fault, Tables, Transaction, Wanted},
};

impl Transaction for Stamp {
    type Outcome = ();

    fn wanted(&self, _: &mut Wanted) {}

    fn run(&self, tables: &mut impl Tables) -> Result<(), Fault> {
        tables.stamp(self.0)
    }
}
