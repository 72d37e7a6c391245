"""The fixed words of charts' captions, in English and Polish."""

from __future__ import annotations

ENGLISH = {
    "baseline": "baseline",
    "changed_most": "Changed most: {name}, from {baseline} to {value}",
    "marked": "{name} (marked): {value}",
    "marked_highest": (
        "{highest} (marked): {highest_value}, the highest; lowest: {lowest}, {lowest_value}"
    ),
    "marked_lowest": (
        "{lowest} (marked): {lowest_value}, the lowest; highest: {highest}, {highest_value}"
    ),
    "part_of": "{name}, {part}",
    "ranges": "{count} values from {lowest} to {highest}; {most} of them lie from {low} to {high}",
    "ranges_same": "{count} values, all {lowest}",
    "ranges_same.one": "{count} value: {lowest}",
    "rest": "others ({count})",
    "rows": "Values",
}

POLISH = {
    "baseline": "punkt odniesienia",
    "changed_most": "Największa zmiana: {name}, z {baseline} na {value}",
    "marked": "{name} (zaznaczono): {value}",
    "marked_highest": (
        "{highest} (zaznaczono): {highest_value}, najwięcej; najmniej: {lowest}, {lowest_value}"
    ),
    "marked_lowest": (
        "{lowest} (zaznaczono): {lowest_value}, najmniej; najwięcej: {highest}, {highest_value}"
    ),
    "part_of": "{name}, {part}",
    "ranges": "Liczba wartości: {count}, od {lowest} do {highest}; z nich {most} od {low} do {high}",
    "ranges_same": "Liczba wartości: {count}; każda wynosi {lowest}",
    "ranges_same.one": "Jedna wartość: {lowest}",
    "rest": "pozostałe ({count})",
    "rows": "Liczba wartości",
}
