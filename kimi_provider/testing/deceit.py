"""How people word claims about figures: phrases for honest texts and for lies, English and Polish.

``{name}`` is what a figure is called, ``{row}`` whose it is, ``{value}``, ``{before}``, ``{delta}`` and
``{percent}`` are references. Nothing here comes from the checks: they have to cope with it.
"""

from __future__ import annotations

from typing import Final

RISES: Final = {
    "en": (
        "{name} went up by {delta} to {value}.",
        "{name} climbed from {before} to {value}.",
        "At {value}, {name} was well above the {before} of the day before.",
        "There was an increase of {percent} in {name}.",
        "{name} came in {percent} higher than the day before.",
        "{name} picked up to {value}, an uptick of {delta}.",
        "{name} has grown to {value}, up from {before}.",
        "{name} surged {percent}, reaching {value}.",
    ),
    "pl": (
        "{name}: wzrost o {percent}, do {value}.",
        "{name}: wartość wzrosła z {before} do {value}.",
        "Odnotowano zwyżkę o {delta}: {name} to teraz {value}.",
        "{name}: poziom {value} jest wyższy niż {before} dzień wcześniej.",
    ),
}
FALLS: Final = {
    "en": (
        "{name} went down by {delta} to {value}.",
        "{name} slid from {before} to {value}.",
        "At {value}, {name} was well below the {before} of the day before.",
        "There was a decline of {percent} in {name}.",
        "{name} came in {percent} lower than the day before.",
        "{name} backed off to {value}, a dip of {delta}.",
        "{name} has shrunk to {value}, down from {before}.",
        "{name} plunged {percent}, reaching {value}.",
    ),
    "pl": (
        "{name}: spadek o {percent}, do {value}.",
        "{name}: wartość zmalała z {before} do {value}.",
        "Odnotowano zniżkę o {delta}: {name} to teraz {value}.",
        "{name}: poziom {value} jest niższy niż {before} dzień wcześniej.",
    ),
}
TOPS: Final = {
    "en": (
        "{row} recorded the highest {name}, {value}.",
        "No other row comes close: with {value}, {row} had the greatest {name}.",
        "The largest {name} belonged to {row} ({value}).",
        "{value} at {row} was the maximum.",
    ),
    "pl": (
        "Najwyższy wynik ma {row}: {value}.",
        "Największą wartość, {value}, zanotowano dla {row}.",
    ),
}
BOTTOMS: Final = {
    "en": (
        "{row} recorded the lowest {name}, {value}.",
        "With {value}, {row} had the smallest {name}.",
        "The lowest {name} belonged to {row} ({value}).",
        "{value} at {row} was the minimum.",
    ),
    "pl": (
        "Najniższy wynik ma {row}: {value}.",
        "Najmniejszą wartość, {value}, zanotowano dla {row}.",
    ),
}
PLAIN: Final = {
    "en": (
        "{name} stands at {value}.",
        "We counted {value} for {name}, against {before} the day before.",
        "For {row}, {name} was {value}.",
        "Somebody should look at {row}, where {name} reached {value}.",
        "The cause is not known; weather may have played a part.",
        "What matters here is staffing and the weather.",
        "Ask those responsible what changed, and follow up in the next report.",
        "Nothing else in the data points to a further problem.",
        "On {day}, {name} was {value}.",
    ),
    "pl": (
        "{name} wynosi {value}.",
        "{name} to {value} wobec {before} dzień wcześniej.",
        "Warto sprawdzić, co się stało: {row} ma {value}.",
        "Przyczyna nie jest znana; mogła to być pogoda.",
        "Należy zapytać osoby odpowiedzialne i wrócić do sprawy w kolejnym raporcie.",
    ),
}

NUMBERS: Final = {
    "en": (
        "That is {n} more than planned.",
        "About {n}% of this was to be expected.",
        "The cost is near ${n} million.",
        "Roughly {n},{m} customers felt it.",
        "The ratio is {n}.{m} to one.",
        "Some {n}k cases are open.",
    ),
    "pl": ("To o {n} więcej niż w planie.", "Dotyczy to około {n}% podróżnych."),
}
NUMBER_WORDS: Final = {
    "en": (
        "Nearly forty cases were affected.",
        "That is twice the usual level.",
        "About a third of them came late.",
        "A dozen teams were involved.",
        "Over a thousand people noticed.",
        "The backlog has tripled.",
        "Almost half of the bags went missing.",
        "Nine out of ten customers complained.",
        "The queue was fivefold.",
    ),
    "pl": (
        "Prawie czterdzieści spraw jest otwartych.",
        "To dwa razy tyle co zwykle.",
        "Około jednej trzeciej klientów się skarżyło.",
        "Liczba skarg się podwoiła.",
        "Ponad tysiąc osób to zauważyło.",
        "Dotyczy to ośmiu zespołów.",
    ),
}
RECORDS: Final = {
    "en": (
        "This is the highest {name} on record.",
        "Never before was {name} this low.",
        "It is the worst {name} of the year.",
        "{name} set a new record.",
        "{name} is at an all-time high.",
        "Such a level of {name} is unprecedented.",
    ),
    "pl": (
        "To rekordowy poziom.",
        "Nigdy wcześniej nie było tak źle.",
        "To najgorszy wynik w historii.",
    ),
}
ENTITIES: Final = (
    *("Zephyr Atlantic", "Borealis Regional", "Quandary Air", "Port Nowhere", "Meridian Loop"),
    *("Halcyon Jet", "Ostrava Freight", "Kestrel Lines", "XQZ", "Vandelay Industries", "Tromso"),
)
ABOUT_ENTITIES: Final = {
    "en": (
        "{who} stands out at {value}.",
        "Most of this comes from {who}.",
        "The figures of {who} explain the rest.",
        "According to {who}, this will pass.",
    ),
    "pl": ("Wyróżnia się {who}: {value}.", "Przyczyną była firma {who}.", "Podobnie jest w {who}."),
}
UNITS: Final = {
    "en": {
        "percent": ("{value} minutes", "{value} dollars", "{value} kilometers", "${value}"),
        "minutes": ("{value} percent", "{value} hours", "{value}%", "€{value}"),
        "count": ("{value} percent", "{value} minutes", "{value} USD", "{value} miles"),
        "": ("{value} percent", "{value} euros"),
    },
    "pl": {
        "percent": ("{value} minut", "{value} złotych"),
        "minutes": ("{value} procent", "{value} godzin"),
        "count": ("{value} procent", "{value} minut", "{value} zł"),
        "": ("{value} procent", "{value} euro"),
    },
}
EXPECTED: Final = {"en": "It amounts to {figure}.", "pl": "Wynosi to {figure}."}
