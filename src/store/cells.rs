//! Memory for records: pages of 64 KiB, each cut into cells of one size class.
//!
//! ```text
//! page of class 112:  | cell | cell | free -> | cell | ... | never used ... | slack |
//! ```
//!
//! A page that empties is returned, so memory of one class serves another when value sizes change. Cells are
//! taken from the page that was last full, which lets the emptier pages of a class drain.
//!
//! Where a cell lies is the node's own affair: nothing replicated depends on it.

/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// Largest cell.
pub(super) const MAX_CELL: usize = 2_048;

const UNIT: usize = 8;
const UNIT_BITS: u32 = 13;
const MAX_PAGES: usize = 1 << (32 - UNIT_BITS);
const SPARE_PAGES: usize = 16;
const NONE: u32 = u32::MAX;
const FULL: u16 = u16::MAX;

/// Sizes of cells: steps of 8 up to 128, then eight steps for each doubling (at most one eighth is slack).
const SIZES: [u16; 44] = sizes();
/// Class of a size, by the size in units of 8, rounded up.
const CLASS_OF: [u8; MAX_CELL / UNIT + 1] = classes();

const fn sizes() -> [u16; 44] {
    let mut sizes = [0; 44];
    let (mut class, mut size) = (0, 40_u16);
    while class < 44 {
        sizes[class] = size;
        size += if size < 128 { 8 } else { 1 << (size.ilog2() - 3) };
        class += 1;
    }
    sizes
}

const fn classes() -> [u8; MAX_CELL / UNIT + 1] {
    let mut classes = [0; MAX_CELL / UNIT + 1];
    let (mut units, mut class) = (0, 0);
    while units < classes.len() {
        if units * UNIT > SIZES[class] as usize {
            class += 1;
        }
        classes[units] = class as u8;
        units += 1;
    }
    classes
}

/// Where a cell begins: page number and offset in units of 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(u32);

impl Address {
    /// No cell: the last unit of the last page, where none can begin.
    pub(super) const NONE: Address = Address(u32::MAX);

    fn new(page: usize, offset: usize) -> Address {
        Address(((page << UNIT_BITS) | (offset / UNIT)) as u32)
    }

    fn page(self) -> usize {
        (self.0 >> UNIT_BITS) as usize
    }

    fn offset(self) -> usize {
        (self.0 as usize & ((1 << UNIT_BITS) - 1)) * UNIT
    }

    pub(super) fn from_raw(raw: u32) -> Address {
        Address(raw)
    }

    pub(super) fn raw(self) -> u32 {
        self.0
    }

    /// The address, unless it is [`Address::NONE`].
    pub(super) fn some(self) -> Option<Address> {
        (self != Address::NONE).then_some(self)
    }
}

impl Default for Address {
    fn default() -> Address {
        Address::NONE
    }
}

type Bytes = Box<[u8; PAGE_BYTES]>;

/// What is known of a page. Offsets are in units of 8 bytes.
#[derive(Clone, Copy)]
struct Page {
    class: u8,
    used: u16,
    fresh: u16,
    free: u16,
    previous: u32,
    next: u32,
}

/// The pages.
pub(super) struct Cells {
    bytes: Vec<Option<Bytes>>,
    pages: Vec<Page>,
    /// For each class the pages with room, linked through [`Page::next`].
    open: [u32; SIZES.len()],
    vacant: Vec<u32>,
    spare: Vec<Bytes>,
    roomy_pages: usize,
}

/// Class of a record of `size` bytes, at most [`MAX_CELL`].
pub(super) fn class_of(size: usize) -> u8 {
    CLASS_OF[size.div_ceil(UNIT)]
}

impl Cells {
    pub(super) fn new() -> Cells {
        Cells {
            bytes: Vec::new(),
            pages: Vec::new(),
            open: [NONE; SIZES.len()],
            vacant: Vec::new(),
            spare: Vec::new(),
            roomy_pages: MAX_PAGES / 4 * 3,
        }
    }

    /// Pages in use.
    pub(super) fn page_count(&self) -> usize {
        self.pages.len() - self.vacant.len()
    }

    /// Whether a quarter of all addresses is still free. Past it (24 GiB) only stubs are put into cells:
    /// those of as many keys as there can be fit into that quarter.
    pub(super) fn is_roomy(&self) -> bool {
        self.page_count() < self.roomy_pages
    }

    #[cfg(test)]
    pub(super) fn set_roomy_pages(&mut self, pages: usize) {
        self.roomy_pages = pages;
    }

    /// The bytes from the cell's begin to the end of its page.
    pub(super) fn at(&self, address: Address) -> &[u8] {
        let page = self.bytes[address.page()].as_deref().expect("a cell in use lies in a page in use");
        &page[address.offset()..]
    }

    /// See [`Cells::at`].
    pub(super) fn at_mut(&mut self, address: Address) -> &mut [u8] {
        let page = self.bytes[address.page()].as_deref_mut().expect("a cell in use lies in a page in use");
        &mut page[address.offset()..]
    }

    /// Takes a cell of `class`. Its bytes are arbitrary.
    pub(super) fn take(&mut self, class: u8) -> Address {
        let size = usize::from(SIZES[usize::from(class)]);
        let mut number = self.open[usize::from(class)];
        if number == NONE {
            number = self.add_page(class);
        }
        let page = &mut self.pages[number as usize];
        let unit = if page.free == FULL { page.fresh } else { page.free };
        let address = Address::new(number as usize, usize::from(unit) * UNIT);
        if page.free == FULL {
            page.fresh += (size / UNIT) as u16;
        } else {
            let next = self.at(address).first_chunk().expect("a cell is longer than a link");
            let next = u16::from_le_bytes(*next);
            self.pages[number as usize].free = next;
        }
        let page = &mut self.pages[number as usize];
        page.used += 1;
        if page.is_full() {
            self.unlink(number);
        }
        address
    }

    /// Gives a cell back.
    pub(super) fn give(&mut self, address: Address) {
        let number = address.page() as u32;
        let page = &mut self.pages[address.page()];
        let was_full = page.is_full();
        let next = page.free;
        page.free = (address.offset() / UNIT) as u16;
        page.used -= 1;
        let is_empty = page.used == 0;
        self.at_mut(address)[..2].copy_from_slice(&next.to_le_bytes());
        if was_full {
            self.link(number);
        }
        if is_empty {
            self.unlink(number);
            self.return_page(number);
        }
    }

    fn add_page(&mut self, class: u8) -> u32 {
        let bytes = self.spare.pop().unwrap_or_else(blank);
        let page = Page { class, used: 0, fresh: 0, free: FULL, previous: NONE, next: NONE };
        let number = match self.vacant.pop() {
            Some(number) => {
                self.bytes[number as usize] = Some(bytes);
                self.pages[number as usize] = page;
                number
            }
            None => {
                assert!(self.pages.len() < MAX_PAGES, "MAX_KEYS stubs fit into the pages");
                self.bytes.push(Some(bytes));
                self.pages.push(page);
                self.pages.len() as u32 - 1
            }
        };
        self.link(number);
        number
    }

    fn return_page(&mut self, number: u32) {
        let bytes = self.bytes[number as usize].take();
        self.vacant.push(number);
        if self.spare.len() < SPARE_PAGES {
            self.spare.extend(bytes);
        }
    }

    fn link(&mut self, number: u32) {
        let class = usize::from(self.pages[number as usize].class);
        let head = std::mem::replace(&mut self.open[class], number);
        self.pages[number as usize].previous = NONE;
        self.pages[number as usize].next = head;
        if head != NONE {
            self.pages[head as usize].previous = number;
        }
    }

    fn unlink(&mut self, number: u32) {
        let Page { class, previous, next, .. } = self.pages[number as usize];
        match previous {
            NONE => self.open[usize::from(class)] = next,
            _ => self.pages[previous as usize].next = next,
        }
        if next != NONE {
            self.pages[next as usize].previous = previous;
        }
    }
}

impl Page {
    fn is_full(&self) -> bool {
        let size = usize::from(SIZES[usize::from(self.class)]);
        self.free == FULL && usize::from(self.fresh) * UNIT + size > PAGE_BYTES
    }
}

fn blank() -> Bytes {
    vec![0; PAGE_BYTES].into_boxed_slice().try_into().expect("the length is PAGE_BYTES")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        assert_eq!(usize::from(SIZES[SIZES.len() - 1]), MAX_CELL);
        for size in 1..=MAX_CELL {
            let class = usize::from(class_of(size));
            assert!(usize::from(SIZES[class]) >= size);
            assert!(class == 0 || usize::from(SIZES[class - 1]) < size);
        }
    }

    #[test]
    fn pages_that_empty_serve_another_class() {
        let mut cells = Cells::new();
        let (small, large) = (class_of(40), class_of(MAX_CELL));
        let taken: Vec<Address> = (0..5_000).map(|_| cells.take(small)).collect();
        let pages = cells.page_count();
        taken.iter().for_each(|&address| cells.give(address));
        assert_eq!(cells.page_count(), 0);
        let again: Vec<Address> = (0..pages * 32).map(|_| cells.take(large)).collect();
        assert_eq!(again.len(), pages * 32);
        assert_eq!((cells.page_count(), cells.pages.len()), (pages, pages), "numbers are used again");
    }

    #[test]
    fn cells_do_not_overlap() {
        let mut cells = Cells::new();
        let class = class_of(112);
        let mut taken: Vec<Address> = (0..2_000).map(|_| cells.take(class)).collect();
        taken.drain(500..1_500).for_each(|address| cells.give(address));
        taken.extend((0..1_500).map(|_| cells.take(class)));
        let mut starts: Vec<usize> = taken.iter().map(|a| a.page() * PAGE_BYTES + a.offset()).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[0] + 112 <= pair[1]));
    }
}
