"""English words that make a claim about figures. Stems take any ending that the pattern allows."""

# ruff: noqa: E501 — a pattern reads worse in pieces

from __future__ import annotations

from typing import Final

from kimi_provider.analysis.words_list import word_set

_ENDINGS = "(?:e|es|ed|ing|s)?"

UP: Final = (
    "(?:increas|ris|climb|jump|surg|soar|spik|gain|grow|advanc|rebound|escalat|mount|swell|balloon|"
    "rocket|skyrocket|leap|quicken|expand|widen|heighten|elevat|strengthen|accelerat|lengthen|exceed|surpass|"
    "outpac|outstrip|outnumber|bulg|inflat|intensif|amplif|boost|mushroom|snowball|shoot)(?:p?"
    f"{_ENDINGS}|ied|ies)|rose|risen|grew|grown|growth|swollen|leapt|shot|higher|greater|larger|bigger|"
    "longer|heavier|costlier|pricier|dearer|hotter|warmer|busier|fuller|stronger|more|additional|extra|above|up|upwards?|uptick|upturn|upswing|uplift|raised|expansion|elevation|escalation|"
    "acceleration|inflation|topped|overtook|outgrew|outgrow(?:s|n)?|outran"
)
DOWN: Final = (
    "(?:decreas|declin|reduc|plung|plummet|tumbl|slump|slid|dip|drop|shrink|lessen|diminish|dwindl|"
    "retreat|weaken|narrow|shorten|crash|collaps|nosediv|trim|erod|ebb|fall|eas|subsid|abat|contract|"
    "reced|deflat|moderat|soften|slow|sink|sag|wan|taper|curtail|slip|backslid|dent|whittl|thin|cool|fad|lag)(?:p?p?m?g?n?"
    f"{_ENDINGS})|fell|fallen|sank|sunk|shrank|shrunk(?:en)?|lower|lowered|cheaper|colder|cooler|quieter|emptier|weaker|sooner|smaller|shorter|fewer|less|lighter|"
    "below|beneath|under|down|downwards?|downtick|downturn|downswing|reductions?|contraction|slide|slowdown|"
    "shrinkage|erosion|undershot|cut"
)
GAINED: Final = "gained|gains|added|adds|adding|won|wins|winning|plus|picked up"
LOST: Final = "lost|loses|losing|shed|sheds|shedding|forfeited|saved|saves|saving|minus"
GOOD: Final = (
    "improv(?:e|es|ed|ing|ement|ements)|better|recover(?:ed|s|y|ing)|bettered|outperform(?:ed|s|ing)?"
)
BAD: Final = "wors(?:e|en|ens|ened|ening)|deteriorat(?:e|es|ed|ing|ion)|degrad(?:e|ed|es|ing|ation)"
FAST: Final = (
    "speeded|sped|faster|quicker|quicken(?:ed|s|ing)?|accelerat(?:e|es|ed|ing|ion)|swifter|speedier"
)
SLOW: Final = "slow(?:ed|er|s|ing|down)?|dragg?(?:ed|ing|s)?|slower"
FLAT: Final = "unchanged|flat|flatlined|steady|steadily-held|stable|stagnat(?:ed|ing|es)|plateaued|constant|identical"

PHRASES_DOWN: Final = (
    "(?:gave|gives?|giving|given) (?:up|back|away)|(?:scal|par|dial|roll|wound|cut|pull|trimm|step|ramp|pegg|whittl)(?:e?d|es|ing|ped|s)? "
    "(?:back|down)|(?:came|come|comes|coming|brought|went|go|goes) down|falls? (?:back|away|off)|(?:cut|cuts) back|(?:tail|level|drop|drops|tap|dropp|taper)(?:s|ed|ing)? off"
)
PHRASES_UP: Final = "(?:scal|ramp|step|pick|push|driv|bump|pil|speed|build|pump|buoy)(?:e?d|es|ing|ped|s)? up|(?:drove|built|went|came|crept|driven|piling|grew|grown) up"
PHRASES_GOOD: Final = (
    "(?:within|inside|on|under) (?:budget)|(?:bounc|com|cam|clam)(?:ed?|es|ing) back|"
    "(?:beat|beats|beating|topped|outdid) (?:the|its|their|our|last|plan|budget|forecast|expectations)"
)
PHRASES_BAD: Final = (
    "(?:miss|misses|missed|missing) (?:the|its|their|our|plan|budget|forecast|expectations)"
)
CONTINUING: Final = word_set("""
    continue continues continued continuing began begun begins start starts started keep keeps tended
    appears appeared seems seemed
""")

ADJACENT_ONLY: Final = word_set("""
    additional extra
    more less fewer up down above below beneath longer shorter larger smaller bigger greater cut
    costlier pricier dearer hotter warmer busier fuller stronger cheaper colder cooler quieter
    emptier weaker sooner better worse faster quicker swifter speedier slower
    shot heavier lighter lower slow under
""")
"""Words that claim a change only right beside a figure, or behind a verb of being or moving."""

BASE_FORMS: Final = word_set("""
    increase decrease drop rise fall climb grow reduce decline jump surge improve worsen lower
    gain slide slow trim cut raise shrink narrow widen boost expand shorten lengthen recover
    deteriorate ease dip exceed contract strengthen weaken lessen soften moderate
""")
MODALS: Final = word_set("""
    to will shall should could can may might would must help helps helped let cannot did does do
    please
""")
MOVING: Final = word_set("""
    is are was were be been being went go goes gone going came come coming moved moves moving
    became become becomes becoming got gets getting grew turned turns
    edged ticked inched crept nudged trended trending headed drifted picked stepped pushed stood
    stands remained remains stayed stays ended finished closed came ran sits sat trends finished
    lies lay
""")
PREPOSITIONS: Final = word_set("""
    to at by from until till reaching hitting touching near of with
""")
FILLERS: Final = word_set("""
    is are was were be been a an the still also now again sharply slightly clearly far well much
    markedly significantly somewhat notably considerably representing marks marking marked
    represents which that it and to figure level even only just very rather has have had
    moderately modestly dramatically steeply percentage points point minutes minute seconds
    percent per cent
""")
NEGATIONS: Final = frozenset(
    ["hardly", "neither", "never", "no", "nor", "not", "barely", "scarcely", "without"]
)
ENDING: Final = word_set("""
    reversed reversing halted halting stopped ended arrested undid
""")
"""Verbs that deny the change behind them: "halted the decline"."""
NOT_NEGATIVE: Final = frozenset(["only", "merely", "just", "longer", "least", "surprisingly", "doubt"])
HEDGES: Final = word_set("""
    if whether unless should could may might would expected expects expect forecast forecasts
    hope hoped likely unlikely risk possible possibly potential target targets goal aim plan
    planned until once probably perhaps
""")
SUBORDINATING: Final = word_set("""
    as while whereas although though because since despite after before given with when amid if
    unless due following
""")
JOINING: Final = frozenset(
    ["but", "while", "whereas", "and", "although", "though", "yet", "as", "because"]
)
PRONOUNS: Final = frozenset(["it", "they", "this", "that", "these", "those", "which", "both"])

MAXIMUM: Final = (
    "highest|largest|biggest|greatest|longest|maximum|peaked|heaviest|costliest|fullest|busiest|fattest|"
    "richest|priciest|hottest|warmest|windiest|tallest|steepest|widest|thickest|dearest|crowdedest|toughest"
)
MINIMUM: Final = (
    "lowest|smallest|fewest|shortest|minimum|lightest|cheapest|bottomed|troughed|emptiest|thinnest|"
    "leanest|coldest|coolest|slimmest|tiniest|narrowest|slightest|scarcest|quietest"
)
SLOWEST: Final = "slowest"
FASTEST: Final = "fastest|quickest|speediest|swiftest"
BEST: Final = "best|finest|healthiest|safest|strongest"
WORST: Final = "worst|weakest|poorest|riskiest|shakiest|sickest"
EXTREME: Final = r"[a-z]{3,}est"
NO_SUPERLATIVES: Final = word_set("""
    interest request latest rest test west forest guest suggest contest protest invest harvest
    nearest honest modest arrest digest earliest quest chest nest midwest northwest southwest
    manifest reinvest disinterest unrest newest oldest closest forecast priest conquest
    tempest retest attest ingest infest molest pest jest vest zest simplest clearest easiest
    surest
""")
MOST: Final = "most"
LEAST: Final = "least"
NO_RANKING: Final = word_set("""
    important likely recent serious urgent notable significant striking pressing obvious part
    common practice guess priority concern plausible probable case effective useful relevant
    critical practices estimate interest way next step
""")
CHANGES: Final = (
    "(?:change|increase|decrease|drop|rise|decline|jump|swing|move|mover|movement|gain|fall|shift|surge|"
    "improvement|deterioration|reduction|growth|loss|deviation|difference|worsening|spike|slide)s?"
)
HISTORY: Final = (
    r"record[ -](?:high|low|number|level|breaking|setting|day|week|figure|value|pace|total)s?|"
    r"new (?:high|low|peak|best)s?\b(?! of\b)|record-\w+|(?:a|an|new|another|the|all-time|absolute) record(?! of)\b|all-time|of all time|unprecedented|"
    r"never before|never (?:been|seen|had)|historic(?:ally)?(?: (?:high|low|peak|best|worst))|"
    r"than ever|never (?:have|has|had|was|were|did)\b[^.!?]{0,60}\b(?:so|this|such|as)\b|since records began|(?:for )?the first time (?:ever|in|since)|in living memory|unheard[- ]of|unmatched|unrivall?ed"
)
SCOPES: Final = (
    r"ever|on record|in (?:(?:\w+['\u2019]s |the |its |our |\w+ ){0,2}(?:history|memory)|years|decades|months|weeks)|(?:of|in|this|so far this) "
    r"(?:the |this |past |last |current )*(?:year|month|decade|season|quarter|century|winter|summer|spring|"
    r"autumn)(?! (?:before|earlier|ago|prior))|since|(?:year|month|decade|season|quarter)['\u2019]s|to date|yet(?=\s*(?:[.,;!?)]|$))|so far|in (?:a|over a|more than a) "
    r"(?:long time|while|year|decade|month)"
)

_UNITS_OF_TEN = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_TO_NINETEEN = (
    "four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen"
)
_FRACTIONS = (
    "hal(?:f|ves)|third|quarter|fifth|sixth|seventh|eighth|ninth|tenth|twentieth|hundredth|thousandth"
)
NUMBERS: Final = (
    # "ten" is a pronoun in Polish, so it stands apart.
    rf"(?:{_UNITS_OF_TEN})(?:[- ](?:one|two|three|{_TO_NINETEEN}))?(?:-\w+)?|"
    rf"(?:{_TO_NINETEEN.replace('ten|', '', 1)})(?:-\w+)?|ten-\w+|zero|"
    r"(?<!the )(?<!these )(?<!those )(?<!of )(?<!other )(?<!all )(?:two|three)(?:-\w+)?|"
    r"one[- ](?:hundred|thousand|million|billion|dozen)|"
    r"dozens?|(?:a )?(?:half-)?dozen|hundreds?|thousands?|(?:[mb]|tr)illions?(?:-\w+)?|bn|twice|thrice|"
    r"doubl(?:e|es|ed|ing)(?!-check|\s+check)|(?:tr[ie](?:p|b)|quadrup|quintup|sextup)l(?:e|es|ed|ing)|"
    r"halv(?:e|es|ed|ing)|(?:two|three|four|five|six|seven|eight|nine|ten|twenty|hundred|thousand|many?)fold"
    r"(?<!manifold)|\w+(?:teen|ty|even|lve|ix|ine|ight)[- ]?fold|"
    rf"(?:a|an|one|another|roughly|nearly|almost|about|by|over|under|just)"
    rf"(?: full| whole| good| mere| hefty| solid| tiny)? (?:{_FRACTIONS})(?! (?:time|day|week|month|year))"
    rf"|(?:two|three|four|five|six|seven|eight|nine)[- ](?:{_FRACTIONS})s?|one-(?:{_FRACTIONS})|"
    r"(?<!first )(?<!second )(?<!other )(?<!latter )(?<!better )half (?:of|the|as|a|an|again|its|their|were|was|all|that)|"
    r"(?:one|two|three) and a half|in half|by half|(?:more|less|fewer) than half|"
    r"every (?:second|third|fourth|fifth|tenth) (?!half)\w+|one (?:in|out of) \w+|(?<!\w)tens of|"
    r"(?<!per )(?<!for )(?<!of )scores of"
)
TEN: Final = "ten"

COMMON_CAPITALS: Final = word_set("""
    i kimi english polish american european america europe christmas easter thanksgiving
    internet monday tuesday wednesday thursday friday saturday sunday mondays tuesdays
    wednesdays thursdays fridays saturdays sundays mon tue tues wed thu thur thurs fri sat sun
    new year
""")
ACRONYMS: Final = word_set("""
    KPI KPIS SLA SLAS ETA ETAS ID IDS UTC GMT AM PM OK CEO CFO COO CTO IT HR API SQL CSV PDF FAQ
    Q YTD MTD QTD YOY MOM WOW EU US UK USA VS EST EDT PST TBD NA N A I II III IV V VI ASAP FYI
    PR QA ROI B2B TOTAL AND OR NOT NO THE
""")
