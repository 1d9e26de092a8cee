//! The Parquet form of a table, made from its CSV form: the same columns, each with its type.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};

use super::csv::CsvReader;
use crate::analysis::segmentation::table::{ColumnType, column_type};

/// Rows that are held in memory and written together: about 10 MB.
const ROW_GROUP_ROWS: usize = 1 << 15;

/// Reads an object table as [`crate::analysis::segmentation::table`] writes it and writes it as Parquet. Numbers are
/// taken over exactly, texts without the apostrophe that guards them from spreadsheets; an empty cell is null.
///
/// # Errors
/// I/O; [`io::ErrorKind::InvalidData`] where the text is no object table.
pub(super) fn write_parquet(csv: impl BufRead, out: impl Write + Send) -> io::Result<()> {
    write_typed_parquet(csv, out, "objects", column_type)
}

/// Does the same with a table of another kind: its name, and what the column of a name holds.
///
/// # Errors
/// I/O; [`io::ErrorKind::InvalidData`] where the text is no such table.
pub fn write_typed_parquet(
    csv: impl BufRead,
    out: impl Write + Send,
    table: &str,
    column_type: impl Fn(&str) -> ColumnType,
) -> io::Result<()> {
    let mut csv = CsvReader::new(csv);
    let mut row = Vec::new();
    if !csv.read_row(&mut row)? {
        return Err(invalid("expected a header line, found nothing".to_owned()));
    }
    let mut columns: Vec<Column> = row.iter().map(|name| Column::new(name, column_type(name))).collect();
    let mut file = open(out, table, &columns).map_err(to_io)?;
    let mut n_rows = 0_usize;
    while csv.read_row(&mut row)? {
        if row.len() != columns.len() {
            return Err(invalid(format!("expected {} cells, found {}", columns.len(), row.len())));
        }
        columns.iter_mut().zip(&row).try_for_each(|(column, cell)| column.push(cell))?;
        n_rows += 1;
        if n_rows.is_multiple_of(ROW_GROUP_ROWS) {
            write_row_group(&mut file, &mut columns).map_err(to_io)?;
        }
    }
    if !n_rows.is_multiple_of(ROW_GROUP_ROWS) {
        write_row_group(&mut file, &mut columns).map_err(to_io)?;
    }
    file.close().map_err(to_io)?;
    Ok(())
}

/// The values of one column that are not written yet.
struct Column {
    name: String,
    values: Values,
    /// 1 for each row that has a value, 0 for null: Parquet's definition levels.
    present: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
}

impl Column {
    fn new(name: &str, holds: ColumnType) -> Self {
        let values = match holds {
            ColumnType::Text => Values::Text(Vec::new()),
            ColumnType::Whole => Values::Whole(Vec::new()),
            ColumnType::Real => Values::Real(Vec::new()),
            ColumnType::Flag => Values::Flag(Vec::new()),
        };
        Self { name: name.to_owned(), values, present: Vec::new() }
    }

    fn push(&mut self, cell: &str) -> io::Result<()> {
        self.present.push(i16::from(!cell.is_empty()));
        if cell.is_empty() {
            return Ok(());
        }
        let name = &self.name;
        let refused = || invalid(format!("column {name}: expected a value of its type, found {cell:?}"));
        match &mut self.values {
            // neighbouring rows mostly say the same: one copy will do
            Values::Text(values) => match values.last() {
                Some(last) if last.data() == cell.as_bytes() => values.push(last.clone()),
                _ => values.push(ByteArray::from(cell)),
            },
            Values::Whole(values) => values.push(cell.parse().map_err(|_| refused())?),
            Values::Real(values) => values.push(cell.parse().map_err(|_| refused())?),
            Values::Flag(values) => values.push(cell.parse().map_err(|_| refused())?),
        }
        Ok(())
    }

    fn schema(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match self.values {
            Values::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Values::Whole(_) => (PhysicalType::INT64, None),
            Values::Real(_) => (PhysicalType::DOUBLE, None),
            Values::Flag(_) => (PhysicalType::BOOLEAN, None),
        };
        Type::primitive_type_builder(&self.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
    }

    fn clear(&mut self) {
        self.present.clear();
        match &mut self.values {
            Values::Text(values) => values.clear(),
            Values::Whole(values) => values.clear(),
            Values::Real(values) => values.clear(),
            Values::Flag(values) => values.clear(),
        }
    }
}

fn open<W: Write + Send>(
    out: W,
    table: &str,
    columns: &[Column],
) -> Result<SerializedFileWriter<W>, ParquetError> {
    let fields: Result<Vec<_>, _> = columns.iter().map(|column| column.schema().map(Arc::new)).collect();
    let schema = Type::group_type_builder(table).with_fields(fields?).build()?;
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("scopewatch version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::GZIP(GzipLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false);
    for column in columns.iter().filter(|column| matches!(column.values, Values::Text(_))) {
        // a name with a dot is one name
        let path = ColumnPath::new(vec![column.name.clone()]);
        properties = properties.set_column_dictionary_enabled(path, true);
    }
    SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties.build()))
}

fn write_row_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    columns: &mut [Column],
) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for column in columns {
        let Some(mut out) = group.next_column()? else { break };
        let present = Some(column.present.as_slice());
        match (out.untyped(), &column.values) {
            (ColumnWriter::ByteArrayColumnWriter(out), Values::Text(values)) => {
                out.write_batch(values, present, None)?;
            }
            (ColumnWriter::Int64ColumnWriter(out), Values::Whole(values)) => {
                out.write_batch(values, present, None)?;
            }
            (ColumnWriter::DoubleColumnWriter(out), Values::Real(values)) => {
                out.write_batch(values, present, None)?;
            }
            (ColumnWriter::BoolColumnWriter(out), Values::Flag(values)) => {
                out.write_batch(values, present, None)?;
            }
            _ => return Err(ParquetError::General(format!("column {} has another type", column.name))),
        }
        out.close()?;
        column.clear();
    }
    group.close()?;
    Ok(())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the table is damaged: {text}"))
}

/// The error of the system where there is one below, so that a full disk is known as such.
fn to_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    use super::*;

    fn read(bytes: Vec<u8>) -> Vec<Vec<(String, Field)>> {
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows = reader.get_row_iter(None).unwrap();
        rows.map(|row| row.unwrap().into_columns()).collect()
    }

    fn written(csv: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_parquet(csv.as_bytes(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn columns_have_their_types_and_texts_lose_their_guard() {
        let csv = "file,t,label,area,centroid-0,centroid_weighted-0,touches_border,area_um2\n\
                   \"'-a, \"\"b\"\"\n.tif\",0,1,4,0.1,,true,1e-300\n'=x,,2,9007199254740993,-2.5,3,false,\n";
        let rows = read(written(csv));
        let expected = [
            vec![
                ("file", Field::Str("-a, \"b\"\n.tif".into())),
                ("t", Field::Long(0)),
                ("label", Field::Long(1)),
                ("area", Field::Long(4)),
                ("centroid-0", Field::Double(0.1)),
                ("centroid_weighted-0", Field::Null),
                ("touches_border", Field::Bool(true)),
                ("area_um2", Field::Double(1e-300)),
            ],
            vec![
                ("file", Field::Str("=x".into())),
                ("t", Field::Null),
                ("label", Field::Long(2)),
                ("area", Field::Long(9_007_199_254_740_993)),
                ("centroid-0", Field::Double(-2.5)),
                ("centroid_weighted-0", Field::Double(3.0)),
                ("touches_border", Field::Bool(false)),
                ("area_um2", Field::Null),
            ],
        ];
        let expected: Vec<Vec<_>> = expected
            .into_iter()
            .map(|row| row.into_iter().map(|(name, field)| (name.to_owned(), field)).collect())
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_table_of_several_row_groups_keeps_its_order_and_one_of_none_its_columns() {
        let n = 2 * ROW_GROUP_ROWS + 3;
        let rows: String = (0..n).map(|label| format!("f.tif,{label}\n")).collect();
        let bytes = written(&format!("file,label\n{rows}"));
        let rows = read(bytes);
        assert_eq!(rows.len(), n);
        let labels = rows.iter().map(|row| &row[1].1);
        assert!(labels.enumerate().all(|(at, label)| *label == Field::Long(at as i64)));
        let none = SerializedFileReader::new(bytes::Bytes::from(written("file,label\n"))).unwrap();
        let metadata = none.metadata().file_metadata();
        assert_eq!((metadata.num_rows(), metadata.schema().get_fields().len()), (0, 2));
    }

    #[test]
    fn what_is_no_object_table_is_refused() {
        for text in ["", "label,area\n1\n", "label\nx\n", "touches_border\nyes\n", "file\n\"open"] {
            let error = write_parquet(text.as_bytes(), io::sink()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?}: {error}");
        }
    }

    #[test]
    fn a_full_disk_is_known_as_such() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = write_parquet(&b"label\n1\n"[..], Full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }
}
