//! The record's bytes.

use scoretap_scan::cells::{GAP_CELLS, VALUE_CELLS};
use scoretap_scan::record::{
    ColumnCounts, Finding, Finish, FinishCounts, Generation, Kind, KindCounts, LONGEST, Record, Rows,
    Scanned, Tokens,
};
use scoretap_scan::text::Text;

/// A record in which everything has its largest size, with so many classes.
fn largest(classes: usize) -> Record {
    let cells = |cells: usize| (0..u8::try_from(cells).unwrap()).map(|cell| (cell, u32::MAX)).collect();
    let mut kinds = KindCounts::default();
    Kind::ALL.into_iter().for_each(|kind| kinds.add(kind));
    let mut finish = FinishCounts::default();
    Finish::ALL.into_iter().for_each(|reason| finish.add(reason));
    let tokens = Some(u64::MAX - 1);
    let rows = Rows {
        rows: u64::MAX,
        kinds,
        cells: cells(VALUE_CELLS),
        classes: (0..classes).map(|class| (format!("{class:0>32}").into_bytes(), u32::MAX)).collect(),
        other_classes: u32::MAX,
        fingerprint: u64::MAX,
    };
    let generation = Generation {
        is_stream: true,
        is_ended: true,
        tokens: Tokens { input: tokens, output: tokens, cached: tokens, reasoning: tokens },
        finish,
        content_events: u64::MAX,
        first_content: tokens,
        last_content: tokens,
        gaps: cells(GAP_CELLS),
    };
    let name = [b'm'; 80];
    Record {
        scanned: Scanned::Compressed,
        request_model: Text::from(name.as_slice()),
        model: Text::from(name.as_slice()),
        version: Text::from(&name[..32]),
        error: Finding::Structured,
        rows: Some(rows),
        generation: Some(generation),
        columns: Vec::new(),
        cut: 3,
    }
}

#[test]
fn largest_record_of_a_scanner_fits() {
    let record = largest(20);
    let bytes = record.encode();
    assert!(bytes.len() <= LONGEST, "{}", bytes.len());
    assert_eq!(Record::decode(&bytes), Some(record));
}

#[test]
fn classes_beyond_the_record_count_as_cut() {
    let mut record = largest(0);
    let classes = (0..80_u32).map(|class| (format!("{class:0>32}").into_bytes(), 7));
    record.rows.as_mut().unwrap().classes = classes.collect();
    let bytes = record.encode();
    assert!(bytes.len() <= LONGEST, "{}", bytes.len());
    // A reader takes no more classes than a scanner tells apart.
    assert_eq!(Record::decode(&bytes), None);
    let cut = |record: &Record| {
        let rows = record.rows.as_ref().unwrap();
        let kept =
            rows.classes.iter().filter(|(name, _)| bytes.windows(name.len()).any(|window| window == name));
        (80 - u32::try_from(kept.count()).unwrap()) * 7
    };
    // The last field: a tag, a length and a number of two bytes.
    let last = &bytes[bytes.len() - 2..];
    assert_eq!(u32::from(last[0] & 0x7F) | u32::from(last[1]) << 7, 3 + cut(&record));
}

#[test]
fn every_damaged_record_is_refused_or_read() {
    let column =
        |column| ColumnCounts { column, out_of_range: 300, cells: vec![(3, 300)], ..ColumnCounts::default() };
    let bytes = Record { columns: vec![column(0), column(31)], ..largest(3) }.encode();
    for at in 0..bytes.len() {
        Record::decode(&bytes[..at]);
        for byte in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            if let Some(record) = Record::decode(&damaged) {
                assert!(record.encode().len() <= LONGEST);
            }
        }
    }
}

#[test]
fn other_formats_are_refused_and_new_fields_skipped() {
    let record = largest(3);
    let mut bytes = record.encode();
    bytes.extend([200, 2, 1, 2]);
    assert_eq!(Record::decode(&bytes), Some(record));
    bytes[0] = 2;
    assert_eq!(Record::decode(&bytes), None);
    assert_eq!(Record::decode(&[]), None);
}
