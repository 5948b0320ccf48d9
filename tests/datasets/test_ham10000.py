import pytest

from vidence.datasets.ham10000 import HAM10000
from vidence.errors import DataError


def test_pictures_of_both_folders_grouped_by_lesion(lay_out):
    samples = HAM10000(str(lay_out("ham10000"))).samples()
    assert {sample.label for sample in samples} == {"nv", "mel", "bcc"}
    assert {sample.path.split("/")[-2] for sample in samples} == {"HAM10000_images_part_1", "HAM10000_images_part_2"}
    assert len({sample.group for sample in samples}) == 7


def test_the_table_of_the_archive_has_no_suffix(lay_out):
    root = lay_out("ham10000")
    before = HAM10000(str(root)).samples()
    (root / "HAM10000_metadata.csv").rename(root / "HAM10000_metadata")
    assert HAM10000(str(root)).samples() == before


def test_the_table_is_also_read_as_the_archive_serves_it(lay_out):
    root = lay_out("ham10000")
    before = HAM10000(str(root)).samples()
    table = root / "HAM10000_metadata.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    table.with_suffix(".tab").write_text("\n".join("\t".join(f'"{each}"' for each in row) for row in rows))
    table.unlink()
    assert HAM10000(str(root)).samples() == before


def test_missing_pictures_are_counted(lay_out):
    root = lay_out("ham10000")
    for i in (4, 6):
        (root / "HAM10000_images_part_1" / f"ISIC_{i}.jpg").unlink()
    with pytest.raises(DataError, match=r"ISIC_4\.jpg \(2 of 14 pictures of the table\) is missing"):
        HAM10000(str(root)).samples()
