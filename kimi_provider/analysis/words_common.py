"""English words that a sentence may begin with, so that their capital says nothing of a name."""

from __future__ import annotations

from typing import Final

from kimi_provider.analysis.words_list import word_set

ENDINGS: Final = word_set("""
    ing ness tion tions sion sions ment ments ity ities ance ences ence ances ly ism ship ships
    ages age ure ures ers ors ed ful less ive ives able ible ous ial ical ists ings ups downs
    ables als rates times hood dom ency ancy
""")  # fmt: skip
"""Endings of common words; names of companies and places rarely have them."""

COMMON: Final = word_set("""
    a about above absent across act action actions activity add additional admissions after
    afternoon again against age ago agree ahead aim air aircraft airline airlines airport
    airports alert alerts alike all almost alone along already also although always amid among
    amount an analysis analyze and another answer any anybody anyone anything apart apply
    approach are area areas around arrival arrivals as ask assess assign at audit average avoid
    away back backlog bad baggage bags balance bank base baseline basis be because beds been
    before begin behind being below beside besides best better between beyond big bill bills
    board book bookings both bottom branch brand brands brief bring budget bug bugs build bus
    buses business businesses but buy buyers by cabin call calls calm can cancellations
    cancelled care cargo carrier carriers carry case cases cash cause causes caution center
    centers certain change changes channel channels charge charges chart charts check checks
    churn city claim claims class clean clear clearly clicks client clients close cloud clouds
    coach code cohorts cold come comments commerce companies company compare compared complaints
    concern concerns conclude conditions confirm congestion consider contact content contracts
    controls conversion cost costs could count country couple course cover coverage crashes
    credit crew crews current customer customers daily data date day days dead deal deals debt
    deep defects delay delayed delays deliveries delivery demand departure departures deposits
    depot depth despite detail details determine did differences different dips direct discount
    discounts diversions do does done double down downtime downtimes draw drill driver drivers
    drops due during dwell each earlier early earnings ease east easy economy effort either else
    email employee employees end energy engine engineers enough ensure equally equipment error
    errors escalate especially even evening event events ever every everybody everyone
    everything everywhere evidence exact example except excess expect expected expense expenses
    explain export exports extra face factor factors failure failures far fast feedback fees few
    field figure figures file files fill final finally finance find findings first fix flag
    fleet flight flights flow focus fog follow following food footfall for forecast form four
    free freight fresh friday from fuel full fully fund funds further future gains gap gaps gate
    gates general get give given go goal goals good goods great gross ground group groups growth
    guests half hand hard has have having he head headcount health heat heavy help hence her
    here high hold holds hospital hotel hour hours house how however hub hubs human i ice idea
    idle if image impact imports in incidents income indeed index industry input inside inspect
    instead inventory investigate invoice invoices is issue issues it item items its itself jams
    job jobs joint just keep key keys kind kitchens know knowledge labor lack lag lanes large
    last late latency later latest launch law lead leads leakage learn least leave left legal
    let level levels light like likewise limit limits line lines list listings little load loans
    local location locations log logistics logs long look losses lost lot low mail main
    maintenance make management manager managers many margin margins market markets match
    matters may maybe me mean meanwhile measure media meet members membership memory menus
    merchants metrics mid might mind minor missed mission mobile model monday money monitor
    month monthly months more moreover morning mornings most mostly move movement much must my
    name names near nearly need neither net network networks never nevertheless new news next
    night nights nine no nobody noise none nonetheless noon nor normal normally north not
    notably note notes nothing notice notify now number numbers obviously odd of off offer
    offers office offices often oil old on once one ones online only open operations operators
    or order orders origin origins other others our out outages outbound outliers output outside
    over overall own owner page pages pageviews paid pair parcel parcels part particular partly
    parts party passenger passengers past patients pattern patterns pay payments payroll peak
    pending people per percent performance perhaps period periods person pick pickups pilots
    pipeline pipelines place plan planes plans plant plants please plus point points policy poor
    port position post power present press pressure price prices prior priority probably problem
    problems process product production products profit profits program project projects proof
    protect provide public pull purchase purchases push put quality quarter quarters queries
    query question questions queue queues quick quickly quiet quite quota rail rain rainfall
    raise range rate rates rather ratio raw reach read readings real really reason reasons
    rebookings receipts record records recovery referrals refund refunds region regional regions
    relative release remote renewals rent repair repeat replace replies reply report reports
    request requests rerun research reservations rest result results retail retries retry return
    returns revenue review risk risks road role roll rooms root route routes row rows run runs
    runway runways safety sales same sample satisfaction saturday save scale schedule schedules
    schools scope score scores season seat seats second sector see seek segment segments sell
    send sensors separate server servers service services sessions set seven shares sharp she
    shelf shift shifts ship shipments shipping shop shoppers shops short shortages should show
    shown shrinkage side sign signal signals signs signups similar simply since single site
    sites situation six size sizes slots slow small snow snowfall so social software some
    somebody someone something sometimes soon sort source sources south space speak spend spikes
    split spread spring squads staff stage standard start state station stations status stay
    step steps still stock stockouts stop storage store stores storm storms street stress strike
    strong students study subject subscribers subscriptions such sudden suddenly summer sunday
    supplier suppliers supply support sure surveys swings system systems table take talk target
    targets task tasks tax taxes team teams technical ten tenants terminal terminals test tests
    text than thank that the their them themes then there therefore these they thing things
    think third this those though thought three through throughout throughput thunderstorms thus
    ticket tickets tie time times title to today together tolls tomorrow tonight too tool top
    topics total totals touch toward track trade traffic train trains transfers transit
    transport travel travelers treat trend trends trip trips truck trucks true trust try turn
    turnover two type types under unit units unless unlike until unusual up update upon usage
    use used users usual usually utilization vacancies value values vans vehicle vehicles
    vendors verify versus very via view views visibility visit visitors visits voids volume
    volumes wages wait waits walk want warehouse warehouses was waste watch water wave way we
    weather web week weekend weekends weekly weeks well went were west what whatever when
    whenever where whereas wherever whether which while who whoever whole whose why wide will
    wind winds winners wins winter with within without work workers workforce workload world
    worth would written yard year years yes yesterday yet yield you your zero zone
""")  # fmt: skip
"""Common words, in lower case."""
