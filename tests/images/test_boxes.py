from biomedica_kedro.images.boxes import Box, in_reading_order


def test_boxes_are_read_row_by_row():
    upper_left, upper_right, lower = Box(0, 0, 10, 10), Box(2, 12, 12, 22), Box(14, 0, 24, 22)

    assert in_reading_order([lower, upper_right, upper_left]) == [upper_left, upper_right, lower]


def test_box_holds_what_has_its_center_within():
    assert Box(0, 0, 10, 10).holds(Box(8, 8, 11, 11))
    assert not Box(0, 0, 10, 10).holds(Box(9, 9, 13, 13))
