"""Words that are written with a capital and name no outsider, and names that look like words."""

# ruff: noqa: E501 — a list or a pattern reads worse in pieces

from __future__ import annotations

from typing import Final

from kimi_provider.analysis.words_list import word_set

ROLES: Final = word_set("""
    account accounting accounts admin administration administrator advisor analyst analysts analytics
    architecture asset assistant assurance audit board brand business buyer buying care catalog
    category center centre chair champion chief city claims client clinical commercial committee
    communications compliance content control controller controlling coordinator corporate council
    crew customer data dean delivery demand department deputy desk development digital director
    directors dispatch distribution division duty ecommerce editorial education emergency employee
    engineer engineering engineers environment estates executive experience facilities facility field
    finance financial fleet floor food front fulfillment fulfilment general governance ground group growth
    head health hotline house housekeeping human incident infrastructure inspection insights
    intelligence inventory investor iot kitchen lab lead leader leadership learning legal line
    logistics maintenance management manager managers market marketing media medical merchandising
    network night nurse nursing office officer on-call operation operational operations ops owner owners
    partner partnerships patient payments payroll people performance pharmacy planner planning plant
    platform policy pricing principal procurement product production program project property public
    purchasing quality ramp receiving reception regional registrar relations reliability repair research
    reservations resource resources retail revenue risk safety sales scheduling school science security
    senior service services shift site sourcing staff staffing station steering stock store strategy
    success supervisor supply support sustainability system systems talent team teams technical
    technology technician trade trading training transport transportation treasury underwriting unit
    utilities vendor ward warehouse warehousing web workforce workshop yard
""")
"""Departments and offices: "ask Customer Care", "the Head of Nursing"."""

BRANDS: Final = word_set("""
    alphabet apple azure block bolt box caterpillar chase delta discover envoy excel express frontier
    gap general intel kraft mars meta monday nest notion numbers oracle orange outlook pages ping
    progressive salesforce shell shopify slack snowflake southwest spark spirit sprint square stripe
    subway target teams teams tide travelers twitter uber united virgin visa word zoom zoom
""") - {"general", "monday", "numbers", "pages", "teams", "word", "travelers", "block", "box"}
"""Companies and products whose names are words too."""

UNITS_PL: Final = word_set("""
    dział działu działowi działem dziale zespół zespołu zespołowi zespołem zespole departament
    departamentu departamentem biuro biura biurem biuru centrum wydział wydziału wydziałem sekcja sekcję
    sekcji pion pionu dyrektor dyrektora dyrektorowi dyrektorem kierownik
    kierownika kierownikiem kierownikowi szef szefa szefem koordynator koordynatora koordynatorem
    menedżer menedżera menedżerem obsługa obsługę obsługi
""")
"""Polish words behind which a department's name stands: "Dział Utrzymania Ruchu"."""

DEMONYMS: Final[dict[str, str]] = {
    "british": "united kingdom", "uk": "united kingdom", "briton": "united kingdom", "dutch": "netherlands",
    "french": "france", "swiss": "switzerland", "irish": "ireland", "greek": "greece",
    "finnish": "finland", "danish": "denmark", "swedish": "sweden", "spanish": "spain",
    "norwegian": "norway", "portuguese": "portugal", "czech": "czechia", "chinese": "china",
    "japanese": "japan", "turkish": "turkey", "german": "germany", "italian": "italy",
    "polish": "poland", "hungarian": "hungary", "belgian": "belgium", "austrian": "austria",
    "canadian": "canada", "mexican": "mexico", "brazilian": "brazil", "indian": "india",
    "american": "united states", "ukrainian": "ukraine", "romanian": "romania",
    "scottish": "scotland", "welsh": "wales",
}  # fmt: skip
"""What people and things of a country are called."""

EXONYMS_PL: Final[dict[str, str]] = {
    "nowy jork": "new york", "londyn": "london", "paryż": "paris", "berlin": "berlin",
    "wiedeń": "vienna", "praga": "prague", "rzym": "rome", "mediolan": "milan", "wenecja": "venice",
    "monachium": "munich", "kolonia": "cologne", "lipsk": "leipzig", "drezno": "dresden",
    "genewa": "geneva", "zurych": "zurich", "bruksela": "brussels", "kopenhaga": "copenhagen",
    "sztokholm": "stockholm", "ateny": "athens", "lizbona": "lisbon", "barcelona": "barcelona",
    "madryt": "madrid", "moskwa": "moscow", "kijów": "kyiv", "lwów": "lviv", "wilno": "vilnius",
    "ryga": "riga", "tokio": "tokyo", "pekin": "beijing", "szanghaj": "shanghai", "singapur": "singapore",
    "waszyngton": "washington", "filadelfia": "philadelphia", "kalifornia": "california",
    "floryda": "florida", "teksas": "texas", "warszawa": "warsaw", "kraków": "krakow", "łódź": "lodz",
    "niemcy": "germany", "francja": "france", "włochy": "italy", "hiszpania": "spain",
    "portugalia": "portugal", "wielka brytania": "great britain", "anglia": "england",
    "szkocja": "scotland", "irlandia": "ireland", "holandia": "netherlands", "belgia": "belgium",
    "szwajcaria": "switzerland", "austria": "austria", "czechy": "czechia", "słowacja": "slovakia",
    "węgry": "hungary", "rumunia": "romania", "bułgaria": "bulgaria", "grecja": "greece",
    "turcja": "turkey", "szwecja": "sweden", "norwegia": "norway", "dania": "denmark",
    "finlandia": "finland", "litwa": "lithuania", "łotwa": "latvia", "estonia": "estonia",
    "ukraina": "ukraine", "rosja": "russia", "chiny": "china", "japonia": "japan", "indie": "india",
    "brazylia": "brazil", "kanada": "canada", "meksyk": "mexico", "stany zjednoczone": "united states",
    "polska": "poland", "europa": "europe", "azja": "asia", "afryka": "africa", "australia": "australia",
}  # fmt: skip
"""Polish names of places, by their English ones: who reads English data writes them in Polish."""
