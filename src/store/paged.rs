//! A vector in pages of fixed size: it grows without copying what is there.

/// A vector of pages of `N` elements. Growth allocates one page; only the table of pages (8 bytes for `N`
/// elements) is ever moved. `N` is a power of two.
pub(super) struct Paged<T, const N: usize> {
    pages: Vec<Box<[T; N]>>,
    length: usize,
}

impl<T: Default, const N: usize> Paged<T, N> {
    pub(super) const fn new() -> Paged<T, N> {
        Paged { pages: Vec::new(), length: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn get(&self, at: usize) -> &T {
        &self.pages[at / N][at % N]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at / N][at % N]
    }

    /// Appends `value`.
    pub(super) fn push(&mut self, value: T) {
        let at = self.length;
        self.grow_to(at + 1);
        *self.get_mut(at) = value;
    }

    /// Takes the last element. One page beyond the end is kept, so that a length that swings around a page's
    /// border does not allocate each time.
    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.length.checked_sub(1)?;
        let value = std::mem::take(self.get_mut(last));
        self.length = last;
        if self.pages.len() > last.div_ceil(N) + 1 {
            self.pages.pop();
        }
        Some(value)
    }

    /// Makes the length at least `length`; new elements have the default value.
    pub(super) fn grow_to(&mut self, length: usize) {
        while self.pages.len() * N < length {
            self.pages.push(page());
        }
        self.length = self.length.max(length);
    }
}

fn page<T: Default, const N: usize>() -> Box<[T; N]> {
    let elements: Vec<T> = std::iter::repeat_with(T::default).take(N).collect();
    elements.into_boxed_slice().try_into().ok().expect("collected exactly N elements")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_shrinks_and_keeps_one_spare_page() {
        let mut paged: Paged<u32, 4> = Paged::new();
        (0..9).for_each(|n| paged.push(n));
        assert_eq!((paged.len(), paged.pages.len(), *paged.get(8)), (9, 3, 8));
        assert_eq!(paged.pop(), Some(8));
        assert_eq!(paged.pages.len(), 3);
        (0..4).for_each(|_| assert!(paged.pop().is_some()));
        assert_eq!((paged.len(), paged.pages.len()), (4, 2));
        paged.grow_to(6);
        assert_eq!(*paged.get(5), 0, "popped elements do not come back");
    }
}
