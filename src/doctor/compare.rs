//! Compares the URLs from the agent outwards, and finds the first one that is at fault.

use super::finding::{Finding, Id};
use super::fix::{Product, setting};
use super::judge::Judged;

/// What was found at one URL.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    /// The URL, as it may be shown.
    pub(crate) url: String,
    pub(crate) product: Product,
    pub(crate) judged: Judged,
}

/// A finding, and whether the hop before has it already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) finding: &'a Finding,
    pub(crate) is_inherited: bool,
}

/// Returns the findings of a hop, the most important one first.
pub(crate) fn placed(hops: &[Hop], index: usize) -> Vec<Placed<'_>> {
    let before = index.checked_sub(1).and_then(|index| hops.get(index));
    let Some(hop) = hops.get(index) else {
        return Vec::new();
    };
    let mut found: Vec<Placed<'_>> = hop
        .judged
        .findings
        .iter()
        .map(|finding| Placed {
            finding,
            is_inherited: before.is_some_and(|before| is_there(&before.judged, finding.id)),
        })
        .collect();
    found.sort_by_key(|placed| (placed.is_inherited, placed.finding.id));
    found
}

/// Reports whether a hop explains a finding of the next one: it has the same, or one that has this as a consequence.
fn is_there(before: &Judged, id: Id) -> bool {
    // What arrives in bursts leaves late and in bursts, and its head with it.
    let from_bursts = matches!(id, Id::Coalesced | Id::HeadDelayed | Id::EventsDelayed);
    let has_bursts = || before.has(Id::Buffered) || before.has(Id::Coalesced);
    // Weir says with an error event that the agent broke off.
    let is_told = id == Id::ErrorEvent && (before.has(Id::Cut) || before.has(Id::IdleCut));
    before.has(id) || (from_bursts && has_bursts()) || is_told
}

/// Returns the first hop where it goes wrong, and what does.
pub(crate) fn first_fault(hops: &[Hop]) -> Option<(&Hop, &Finding)> {
    hops.iter().enumerate().find_map(|(index, hop)| {
        let found = placed(hops, index);
        let own = found.into_iter().find(|placed| !placed.is_inherited)?;
        Some((hop, own.finding))
    })
}

/// Returns the verdict: one sentence.
pub(crate) fn verdict(hops: &[Hop]) -> String {
    let Some((hop, Finding { id, evidence })) = first_fault(hops) else {
        let through = match hops {
            [hop] => hop.url.as_str(),
            _ => "any of these URLs",
        };
        let as_far = if hops.iter().any(|hop| hop.judged.is_partial) {
            ", as far as so short a response can show"
        } else if hops.iter().any(|hop| !hop.judged.not_examined.is_empty()) {
            ", as far as it was examined"
        } else {
            ""
        };
        return format!("Nothing is wrong with streams through {through}{as_far}.");
    };
    let is_first = hops.first().is_some_and(|first| first.url == hop.url);
    let place = match hops {
        [_] => format!("What is between here and {} is at fault: it", hop.url),
        _ if is_first => format!("It goes wrong already at the first URL, {}, which", hop.url),
        _ => format!("{} is the first hop where it goes wrong: it", hop.url),
    };
    let fix = setting(*id, hop.product);
    // Most products hold back what they compress.
    let and_compresses =
        if matches!(id, Id::Buffered | Id::Coalesced) && hop.judged.has(Id::Compressed) {
            let fix = setting(Id::Compressed, hop.product);
            format!("; it compresses as well, which may be the cause: {fix}")
        } else {
            String::new()
        };
    format!("{place} {}: {evidence}; {fix}{and_compresses}.", id.verb())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(found: &[&[Id]]) -> Vec<Hop> {
        let hop = |(index, ids): (usize, &&[Id])| Hop {
            url: format!("http://{index}"),
            product: Product::Unknown,
            judged: Judged {
                findings: ids.iter().map(|id| Finding::new(*id, "x")).collect(),
                ..Judged::default()
            },
        };
        found.iter().enumerate().map(hop).collect()
    }

    fn fault(found: &[&[Id]]) -> Option<(String, Id)> {
        let hops = hops(found);
        let (hop, finding) = first_fault(&hops)?;
        Some((hop.url.clone(), finding.id))
    }

    #[test]
    fn the_first_hop_that_has_it_is_at_fault() {
        assert_eq!(fault(&[&[], &[]]), None);
        let buffered = &[Id::Buffered][..];
        let second = Some(("http://1".to_owned(), Id::Buffered));
        assert_eq!(fault(&[&[], buffered, buffered]), second);
        let both = &[Id::Compressed, Id::Buffered][..];
        assert_eq!(fault(&[&[], both]), second);
        let third = fault(&[&[], &[], both]).map(|(url, _)| url);
        assert_eq!(third.as_deref(), Some("http://2"));
    }

    #[test]
    fn an_inherited_finding_is_not_the_hops_fault() {
        let buffered = hops(&[&[Id::Buffered], &[Id::HeadDelayed, Id::Compressed]]);
        let found = placed(&buffered, 1);
        assert_eq!(found[0].finding.id, Id::Compressed);
        assert!(found[1].is_inherited);
        let told = hops(&[&[Id::Cut], &[Id::ErrorEvent]]);
        assert!(placed(&told, 1)[0].is_inherited);
        let held = hops(&[&[Id::HeadDelayed], &[Id::Coalesced]]);
        assert!(!placed(&held, 1)[0].is_inherited);
    }

    #[test]
    fn the_verdict_is_one_sentence() {
        let said = verdict(&hops(&[&[], &[Id::Buffered]]));
        assert!(said.starts_with("http://1 is the first hop"), "{said}");
        assert!(said.contains("proxy_buffering off"), "{said}");
        assert!(said.ends_with('.') && !said.contains(". "), "{said}");
        let mut well = hops(&[&[]]);
        assert!(verdict(&well).ends_with("through http://0."));
        well[0].judged.not_examined = vec!["silence".to_owned()];
        let said = verdict(&well);
        assert!(
            said.starts_with("Nothing is wrong") && said.ends_with(", as far as it was examined.")
        );
        let both = verdict(&hops(&[&[], &[Id::Buffered, Id::Compressed]]));
        assert!(both.contains("compresses as well"), "{both}");
        let mut short = hops(&[&[], &[]]);
        short[1].judged.is_partial = true;
        assert!(verdict(&short).contains("so short a response"));
    }
}
