"""Polish words that make a claim about figures, by stems: the endings are many."""

# ruff: noqa: E501 — a pattern reads worse in pieces

from __future__ import annotations

from typing import Final

from kimi_provider.analysis.words_list import word_set

UP: Final = (
    r"(?:wzrost|wzrós|wzros|wzrast|wzrośl|rośn|rosn|rosł|rósł|urosł|urośl|urósł|zwięk|podwyżs|podniosł|"
    r"podniós|podnieś|podskocz|skoczył|skok|przekr(?:acz|ocz)|przewyż|wydłuż|przyros|powięk|nasil|"
    r"przybył|zwyżk|podbi[łl]|eskal|poszybow|wystrzeli|wezbr|przybr|dźwign|pną)\w*|wyższ\w+|wyżej|więcej|"
    r"większ\w*|powyżej|dłuższ\w+|górę"
)
DOWN: Final = (
    r"(?:spad|malej|malał|malel|zmal|zmniejsz|obniż|zniżk|skróc|ubył|ubyt|skurcz|opadł|opadl|zredukow|"
    r"redukcj|osłab|tąpn|zjech|stopnia|runą|runę|ograniczył|kurcz|zmniejszen|topnie)\w*|niższ\w+|niżej|"
    r"mniej|mniejsz\w*|poniżej|krótsz\w+|dół"
)
GAINED: Final = r"zyska[łl]\w*|zyskuj\w+|dodał\w*|plus"
LOST: Final = r"straci[łl]\w*|traci|tracą|oszczędz\w+|minus"
GOOD: Final = r"popraw(?!n)\w*|lepsz\w+|lepiej|polepsz\w*"
BAD: Final = r"pogorsz\w*|pogarsz\w*|gorsz\w+|gorzej"
FAST: Final = r"szybsz\w+|szybciej|przyspiesz\w+|przyśpiesz\w+"
SLOW: Final = r"wolniej\w*|powolniej\w*|zwolni[łl]\w*|spowolni[łl]\w*"
FLAT: Final = r"stabiln\w+|niezmien\w+|niezmieni\w+"

ADJACENT_ONLY: Final = word_set("""
    więcej mniej powyżej poniżej większy większa większe mniejszy mniejsza mniejsze wyżej niżej
""")
MOVING: Final = word_set("""
    jest są był była było były pozostał pozostaje poszedł poszła poszło poszły
""")
PREPOSITIONS: Final = frozenset(["do", "o", "z", "na", "od", "ze", "osiągając", "wynosząc"])
FILLERS: Final = word_set("""
    jest są był była było były to i wyraźnie znacznie lekko nieco mocno gwałtownie dużo sporo
    bardzo też również punktu punktów procentowych procentowego minut minuty sekund
""")
NEGATIONS: Final = frozenset(["nie", "ani", "bez"])
NOT_NEGATIVE: Final = frozenset(["tylko", "jedynie", "dziwi", "ulega", "wiele"])
HEDGES: Final = word_set("""
    jeśli jeżeli gdyby czy może mogą mogło mogły mógł mogła powinien powinna powinno powinny aby
    żeby prognoza prognozy plan planowano oczekiwano oczekiwania cel prawdopodobnie zapewne
    wzrośnie spadnie wzrosną spadną
""")
SUBORDINATING: Final = word_set("""
    gdy kiedy choć chociaż ponieważ mimo pomimo po przed wobec wraz z przy jeśli podczas skoro
""")
JOINING: Final = word_set("""
    ale a lecz natomiast zaś i oraz podczas choć jednak
""")
PRONOUNS: Final = word_set("""
    to ten ta one on ona ono który która które co
""")

MAXIMUM: Final = r"najwyższ\w+|największ\w+|najwięcej|najdłuż\w+|najczęstsz\w+|maksymaln\w+|maksimum"
MINIMUM: Final = r"najniższ\w+|najmniejsz\w+|najmniej|najkrót\w+|najrzadsz\w+|minimaln\w+|minimum"
SLOWEST: Final = r"najwolniej\w*|najpowolniej\w*"
FASTEST: Final = r"najszyb\w+"
BEST: Final = r"najlep\w+"
WORST: Final = r"najgor\w+"
EXTREME: Final = r"naj\w{4,}(?:szy|sza|sze|szą|szego|szej|szemu|szym|szymi|szych|si|iej|ej)"
NO_SUPERLATIVES: Final = frozenset(["najpierw", "najwyżej", "najprawdopodobniej", "najczęściej"])
NO_RANKING: Final = r"naj(?:ważn|pilniej|bliż|nows|now|wcześ|późn|prawd|prost|istotn|star)\w*"
CHANGES: Final = r"(?:zmian|wzrost|spad|skok|ruch|popraw|pogorsz|przyrost|różnic)\w*"
HISTORY: Final = (
    r"rekord(?!ów\b|y\b|ami\b|ach\b)\w*|w historii|historyczn\w+ (?:minim|maksim|rekord|szczyt|dno|poziom)\w*|"
    r"kiedykolwiek|nigdy (?:dotąd|wcześniej|przedtem|jeszcze|nie)|bezprecedensow\w+|jak nigdy|"
    r"po raz pierwszy (?:w|od)|bez precedensu|niespotykan\w+"
)
SCOPES: Final = (
    r"od (?:lat|miesięcy|tygodni|roku|dawna|początku)|(?:w |tego |tym |bieżącego |całego )*"
    r"(?:roku|dekady|dekadzie|sezonu|sezonie|kwartału|kwartale|miesiąca|miesiącu|wieku|stulecia)|dotąd|"
    r"dotychczas|jak dotąd|do tej pory"
)

_TO_TEN = (
    r"dw(?:a|ie|óch|u|óm|om|oma|iema|aj|oje|ojga)|trz(?:y|ech|em|ema|ej)|troj(?:e|ga)|"
    r"czter(?:y|ech|em|ema|ej)|czwor[oga]\w*|"
    r"pię(?:ć|ciu|cioma|cioro)|sześ(?:ć|ciu|cioma|cioro)|siedem|siedmi(?:u|oma|oro)|osiem|ośmi(?:u|oma|oro)|"
    r"dziewię(?:ć|ciu|cioma|cioro)|dziesię(?:ć|ciu|cioma|cioro)"
)
NUMBERS: Final = (
    rf"(?<!ci )(?<!te )(?<!tych )(?<!oba )(?<!obie )(?:{_TO_TEN})|"
    r"\w+na(?:ście|stu|stoma|stk\w+|ścior\w+)|\w+dzie(?:ści|ścia|stu|stoma)|\w+dzies(?:iąt|ięciu|ięcioma)|"
    r"sto|stu|stoma|dwieście|dwustu|(?:trzy|cztery)sta|(?:trzy|cztery|pięciu|sześciu|siedmiu|ośmiu|dziewięciu)stu|"
    r"(?:pięć|sześć|siedem|osiem|dziewięć|kilka)set|kilkuset|"
    r"tysiąc\w*|tysięc\w*|tys\.?|mili(?:on|ard)\w*|mln|mld|set(?:ki|ek|kami|kach)|dziesiąt(?:ki|kami|kach)|"
    r"dziesiątek|tuzin\w*|zero|zera|zerem|"
    r"(?<!pierwszej )(?<!drugiej )(?<!pierwsza )(?<!druga )(?<!w )poło(?:wa|wę|wą|wy)"
    r"(?! (?:roku|miesiąca|dnia|tygodnia|kwartału|lat))|"
    r"pół(?! roku)|półtor[aej]\w*|ćwier(?:ć|ci)|ćwiart\w+|"
    r"(?:jedn[aąej]+|dwie|trzy|dwóch|trzech) (?:trzeci\w*|czwart\w*|piąt\w*|szóst\w*|siódm\w*|ósm\w*|dziewiąt\w*|"
    r"dziesiąt\w*)|(?:trzecia|czwarta|piąta|dziesiąta) część|"
    r"(?:dwu|trzy|cztero|pięcio|sześcio|siedmio|ośmio|dziewięcio|dziesięcio|\w+nasto|\w+dziesto|stu|sto)"
    r"(?:krotn\w*|krocie|kroć|procentow\w*|minutow\w*)|dwakroć|dwójnasób|"
    r"podw(?:oi|aja|ój|oj|ajał)\w*|potr(?:oi|aja|ój|oj)\w*|poczwór\w*|poczworn\w*|"
    r"co (?:drug|trzec|czwart|piąt|szóst|dziesiąt)\w+|po dwa|dwa razy"
)

COMMON_CAPITALS: Final = frozenset(["kimi", "boże", "narodzenie", "wielkanoc", "polska", "polski"])

COMMON_STARTS: Final = word_set("""
    w we na z ze do od o po u i a to ten ta te jest są nie ale czy gdy kiedy jak jaki tak też
    oraz przy przez dla bez pod nad mimo choć najwyższy najniższy największy najmniejszy wzrost
    spadek
""")
POLISH_SIGNS: Final = word_set("""
    w we z ze i oraz na do od się jest są był była było były nie dla przez niż wobec względem po
    przy ten ta tego tej dnia dzień dni poprzedniego wynosi wyniosła wyniósł wyniosło wzrosła
    wzrósł wzrosło wzrosły spadł spadła spadło spadły ale tydzień tygodniu który która które jak
    o
""")
