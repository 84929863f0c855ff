//! The namespaces that have InferenceServices: a record knows its namespace by a number. Owned by the index.

#[derive(Default)]
pub struct Namespaces {
    all: Vec<Namespace>,
    latest: usize,
}

/// Count 0 means free: the name is empty, and the next new namespace reuses the place.
#[derive(Default)]
struct Namespace {
    name: Box<str>,
    inference_services: u32,
    /// It is being deleted, which cannot be undone: nothing in it is reconciled any more.
    terminating: bool,
}

impl Namespaces {
    /// Places for namespaces, free ones too.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn name(&self, namespace: u32) -> &str {
        &self.all[namespace as usize].name
    }

    pub fn is_terminating(&self, namespace: u32) -> bool {
        self.all[namespace as usize].terminating
    }

    /// Returns whether that is a change.
    pub fn terminates(&mut self, namespace: u32) -> bool {
        !std::mem::replace(&mut self.all[namespace as usize].terminating, true)
    }

    /// Nothing can be created in a namespace that is being deleted.
    pub fn recreated(&mut self, namespace: u32) {
        self.all[namespace as usize].terminating = false;
    }

    /// A list begins: a namespace that is there now may have been recreated.
    pub fn are_listed(&mut self) {
        self.all.iter_mut().for_each(|namespace| namespace.terminating = false);
    }

    /// Counts one more InferenceService in the namespace, and returns the namespace's number.
    pub fn enter(&mut self, name: &str) -> u32 {
        let is_it = |known: &Namespace| &*known.name == name;
        // Lists come sorted by namespace.
        let latest = Some(self.latest).filter(|&latest| self.all.get(latest).is_some_and(is_it));
        let known = latest.or_else(|| self.all.iter().position(is_it));
        let empty = || self.all.iter().position(|known| known.inference_services == 0);
        let position = known.or_else(empty).unwrap_or(self.all.len());
        if position == self.all.len() {
            self.all.push(Namespace::default());
        }
        self.latest = position;
        let entered = &mut self.all[position];
        if entered.inference_services == 0 {
            entered.name = name.into();
        }
        entered.inference_services += 1;
        entered.terminating = false;
        u32::try_from(position).unwrap_or(u32::MAX)
    }

    pub fn leave(&mut self, namespace: u32) {
        let left = &mut self.all[namespace as usize];
        left.inference_services -= 1;
        if left.inference_services == 0 {
            (left.name, left.terminating) = (Box::default(), false);
        }
    }
}
