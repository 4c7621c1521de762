//! Lists that rarely get a second item.

/// Adds an item to a list. The first one gets room for itself alone, where a `Vec` would take room for four: most
/// streams have one text, one call at a time and one call of the model, and each of them keeps its lists as long as it
/// lasts.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.capacity() == 0 {
        list.reserve_exact(1);
    }
    list.push(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_item_takes_room_for_one() {
        let mut list = Vec::new();
        push(&mut list, [0_u64; 4]);
        assert_eq!(list.capacity(), 1);
        push(&mut list, [1; 4]);
        assert_eq!(list, [[0; 4], [1; 4]]);
    }
}
