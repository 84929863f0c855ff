//! All names of the index in one buffer: a name takes 5 bytes and its length, instead of 16 for a pointer and 16 to 32
//! for an allocation of its own. Owned by the index; pure; must never move a name without the index's knowledge.

/// Position of a name. Valid only in the `NameArena` that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRef {
    /// A u32 as bytes, which need no alignment: 3 bytes less in each record.
    start: [u8; 4],
    /// Kubernetes names have at most 253 bytes.
    length: u8,
}

impl NameRef {
    fn start(self) -> usize {
        u32::from_ne_bytes(self.start) as usize
    }
}

#[derive(Default)]
pub struct NameArena {
    text: String,
    /// Bytes of removed names.
    dead: usize,
}

/// Dead bytes that are not worth a compaction.
const DEAD_ALLOWED: usize = 16 << 10;

impl NameArena {
    /// None: the name is too long, or the buffer has reached 4 GiB.
    pub fn add(&mut self, name: &str) -> Option<NameRef> {
        let start = u32::try_from(self.text.len()).ok()?.to_ne_bytes();
        let place = NameRef { start, length: u8::try_from(name.len()).ok()? };
        self.text.push_str(name);
        Some(place)
    }

    pub fn get(&self, name: NameRef) -> &str {
        self.text.get(name.start()..name.start() + usize::from(name.length)).unwrap_or_default()
    }

    /// The name must not be used again.
    pub fn remove(&mut self, name: NameRef) {
        self.dead += usize::from(name.length);
    }

    /// Bytes of names that were not removed.
    pub fn living(&self) -> usize {
        self.text.len() - self.dead
    }

    pub fn wants_compaction(&self) -> bool {
        self.dead > DEAD_ALLOWED.max(self.text.len() / 2)
    }

    /// Frees the room of dead names. `living`: every name that is still in use.
    pub fn compact<'a>(&mut self, living: impl Iterator<Item = &'a mut NameRef>) {
        let mut compact = NameArena { text: String::with_capacity(self.text.len() - self.dead), dead: 0 };
        for name in living {
            if let Some(place) = compact.add(self.get(*name)) {
                *name = place;
            }
        }
        *self = compact;
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_what_they_are_while_others_come_and_go() {
        let mut names = NameArena::default();
        let mut living: Vec<(String, NameRef)> = Vec::new();
        for number in 0..20_000 {
            let text = format!("name-{number}");
            living.push((text.clone(), names.add(&text).expect("added")));
            if number % 3 > 0 {
                let (_, removed) = living.swap_remove(number % living.len());
                names.remove(removed);
            }
            if names.wants_compaction() {
                names.compact(living.iter_mut().map(|(_, name)| name));
            }
        }
        assert!(living.iter().all(|(text, name)| names.get(*name) == text));
        let needed: usize = living.iter().map(|(text, _)| text.len()).sum();
        assert_eq!(names.living(), needed);
        assert!(names.text.len() < 2 * needed + DEAD_ALLOWED, "{} bytes for {needed}", names.text.len());
        assert_eq!(names.add(&"x".repeat(256)), None);
    }

    #[test]
    fn the_room_of_dead_names_is_given_back_when_there_is_more_of_it_than_of_living_ones() {
        for (bytes, dead, expected) in [
            (0, 0, false),
            (DEAD_ALLOWED, DEAD_ALLOWED, false),
            (DEAD_ALLOWED + 1, DEAD_ALLOWED + 1, true),
            (40_000, 20_000, false),
            (40_000, 20_001, true),
        ] {
            let names = NameArena { text: "x".repeat(bytes), dead };
            assert_eq!(names.wants_compaction(), expected, "{dead} of {bytes}");
        }
        assert_eq!(DEAD_ALLOWED, 16_384);
    }
}
