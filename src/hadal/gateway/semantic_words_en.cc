#include "hadal/gateway/semantic_words.h"

namespace hadal::gateway {

namespace {

constexpr std::string_view kEnglish = R"(
~: a, an, the, this, that, these, those, some, any, please, kindly, thanks, hi, hello, hey, dear
~: i, me, my, mine, myself, you, we, us, our, ours, it, its, one's, someone, somebody, someone's, anyone, i'm, i've, i'd, it's, you're
=your: your, yours
=he: he, him, his
=she: she, her, hers
=they: they, them, their, theirs
=people: people, person, persons, human, humans, human beings
~now: is, are, am
~past: was, were
~future: will, shall
~: be, been, being, would, do, does, did, doing, done
~: have, has, had, having, get, gets, got, getting, happen to
~: can, could, may, might, able, possible, possibly, be able to, is it possible to, is it ok to, is it okay to, ok, okay, allowed, allow, allows, permitted, permit, permissible
~: in, on, at, of, for, with, as, about, within, inside, and, or, so, then, just, really, actually, exactly, simply, basically, currently, now, there, here's, also, too, very, quite, ever, itself, themselves, via, using, use
~: tell me, give me, show me, let me know, i want to know, i would like to know, i'd like to know, do you know, could you tell me, can you tell me, can you explain, would you explain, could you explain, i am wondering, help me, considered, count as, counts as, known as
~: if, while, whether, whether or not, or not, either, both, each, every, all, all of, whole, entire, entirely
~: want, wants, want to, would like, would like to, like to, trying to, try to, need to, supposed to
?how: how, how do, how to, how can, how could, how should, how would, way to, ways to, the way to, method, methods, process, procedure, steps, step by step, the right way, right way, best way to, a way, in what way, instructions, guide, tutorial, recipe
?what: what, which, whats, what's
?who: who, whom, whose, by whom, which person, what person, by which person
?when: when, what time, what date, which date, what day, what year, which year, in which year, in what year, at what time, date when, by when, how soon
?where: where, which place, what place, in which place, location
?why: why, why is it that, how come, reason, reasons, the reason, cause of, what makes, what causes, for what reason
?count: how many, how much, number of, amount of, the number of, the amount of, what amount of, what number of, quantity of, total number of
?long: how long, for how long, how much time, what length of time, duration, how long does it take, how much time does it take
?often: how often, how frequently, what frequency, how regularly
?what =distance: how far, how far away, distance, the distance
?what =height: how tall, how high, height, tallness
?what =speed: how fast, how quick, how quickly, speed, velocity
?what =age: how old, age, at what age, what age
?what =size: how big, how large, size, what size
?what =weight: how heavy, weight, how much does it weigh
?what =temperature: how hot, how cold, how warm, temperature, at what temperature, what temperature
?what =depth: how deep, depth
?what =width: how wide, width
?what =price: how much does it cost, how much do, how expensive, what does it cost, price, prices, price of, cost, costs, pricing, fee, fees, charge for
?what =population: how many people live, how many people are living, population, number of inhabitants, inhabitants
=write ?who: who wrote, who is the author, who was the author, author, writer, written by, writes, wrote, written
=invent: invent, invented, inventor, invents, inventing
=direct: direct, directed, director
=win: win, won, winner, wins, winning
=lose: lose, lost, loses, losing, loser
=found: founder, founded
!not: not, no, never, none, nothing, without, cannot, neither, nor, unable, impossible, avoid, avoiding, prevent, prevents, keep from, instead of, except, excluding, free from, lack, lacks, don't, doesn't, isn't, aren't, can't, won't, didn't, hasn't, haven't, wasn't, weren't, shouldn't, wouldn't, couldn't, cant, dont, doesnt, isnt, wont, didnt
>from: from
>to: to, into, onto, toward, towards
>by: by
>than: than
=before >before: before, prior to, ahead of, earlier than, until
=after >after: after, following, later than, past
=between: between
=most: most, at most, maximum, max, maximal, upper limit, highest possible, no more than
=least: least, at least, minimum, min, minimal, lower limit, lowest possible, no less than, no fewer than
=more: more, more than, greater than, above, over, older than
=fewer: less, less than, fewer, fewer than, below, under, younger than
=high: high, rich in
=higher: higher, taller
=highest: highest, tallest
=best: best, ideal, optimal, greatest
=large: big, large, huge
=larger: bigger, larger
=largest: biggest, largest
=small: small, little, tiny, smaller
=fast: fast, quick, quickly, rapid, rapidly, speedily
=faster: faster, quicker, speed up, accelerate, make faster, run faster
=near: closest, nearest
=far: farthest, furthest
=buy: buy, purchase, purchasing, buying, bought
=start: start, begin, begins, began, starts, started, starting, beginning, commence
=end: end, ends, ended, ending, finish, finished, finishes, be over, was over, is over, conclude
=fix: fix, repair, fixing, repairing, mend, fixed, repaired
=delete: delete, remove, erase, deleting, removing, get rid of, getting rid of, get out of, clear, take off, take out
=make: make, create, build, building, creating, making, made, built, construct, constructed, construction, develop, set up
=obtain: obtain, receive, acquire
=find: find, locate, look up, see, finding
=show: display, list, view, print
=update: update, change, modify, edit, alter, updating, changing, editing, switch, swap, adjust
=enable: enable, turn on, activate, switch on, turning on, enabling
=disable: disable, turn off, deactivate, switch off, turning off, disabling
=stop: stop, quit, cease, halt, stopping
=merge: merge, combine, join, merging, combining, concatenate
=split: split, separate, splitting, separating, divide
=undo: undo, revert, reverting, undoing
=rollback: roll back, rollback, rolling back
=increase: increase, raise, enlarge, make bigger, make larger, increasing, make the text bigger
=decrease: decrease, reduce, lower, shrink, lessen, make smaller, decreasing, reducing
=calculate: calculate, compute, calculating, computing, calculation, formula for, work out
=send: send, ship, mail, sending, shipping, post
=travel: travel, trip, travelling, traveling, visit, visiting, visits, journey, go to
=need: need, needs, needed, must, require, required, requires, have to, has to, necessary, mandatory, should, ought to, needing
=money: money, cash
=clean: clean, wash, cleaning, washing
=cook: cook, prepare
=safe: safe, safely
=good: good, fine, good idea, a good idea, beneficial
=mean: mean, means, meaning, stand for, stands for, signify, signifies, understand
=difference: difference, different, differ, differs, distinction, differences, differentiate
=contain: contain, contains, include, includes, included, including, come with, comes with
=come: come, comes, came, coming
=symptom: symptom, symptoms, signs
=sideeffect: side effects, side effect, adverse effects
=car: car, automobile, cars
=bicycle: bicycle, bike, bikes
=phone: phone, telephone, cellphone, mobile phone, smartphone
=tv: tv, television
=movie: movie, film, movies, films
=picture: picture, photo, image, pic, pictures, photos, images
=doctor: doctor, physician
=child: child, kid, children, kids
=job: job, occupation
=company: company, firm
=employee: employee, worker
=shop: shop, store
=flat: apartment
=autumn: autumn, fall
=holiday: vacation, holidays
=center: center, centre, middle
=color: color, colour
=license: license, licence, driving licence, driving license, drivers license, driver's license, driver's licence
=tire: tire, tyre
=program: program, programme
=organize: organize, organise
=gasoline: petrol, gasoline, gas station fuel
=rubbish: garbage, trash, rubbish
=luggage: luggage, baggage
=parameter: argument, parameter
=dictionary: dictionary, dict, dicts, dictionaries
=directory: directory, folder
=javascript: javascript, js
=typescript: typescript, ts
=kubernetes: kubernetes, k8s
=postgres: postgresql, postgres
=repository: repository, repo
=function: function, func
=database: database, db
=memory: memory, ram
=pc: pc, computer
=config: configuration, config
=app: app, apps
=apply: apply, application, applying, applications
=usa: usa, u.s., united states, america
=uk: uk, u.k., united kingdom
=worldwar: world war, ww
=mount: mount, mt
=email: email, e-mail, mail address
=website: website, web site, site
=recent: latest, most recent, newest
=last: last, final
=previous: previous, prior
=previously: previously
=quickly: asap
=currency: currency
=rate: rate, rates
=legal: legal, legally, lawful, allowed by law
=illegal: illegal, against the law, unlawful
=everyday: daily, every day
=weekly: weekly, every week
=monthly: monthly, every month, per month
=yearly: yearly, annually, per year, every year, annual
=spring: spring, springtime
=summer: summer, summertime
=winter: winter, wintertime
=monday: monday, mondays
=tuesday: tuesday, tuesdays
=wednesday: wednesday, wednesdays
=thursday: thursday, thursdays
=friday: friday, fridays
=saturday: saturday, saturdays
=sunday: sunday, sundays
=charger: charger, charging adapter
=worry: worry, concerned
=refund: refund, money back
=equal: equal, equals
=drink: drink, drinking, drank
=eat: eat, eating, eaten, ate
=sleep: sleep, sleeping, slept
=live: live, living, lives, lived, alive
=grow: grow, growing, grew, growth
=fly: fly, flying, flight, flights, flew
=pay: pay, paying, paid
=run: run, running, ran
=take: take, taking, took, taken
=learn: learn, learning, teach myself, teaching myself, learnt, learned
=stay: stay
#km: km, kms, kilometer, kilometers, kilometre, kilometres
#m: meter, meters, metre, metres, m
#cm: cm, centimeter, centimeters, centimetre, centimetres
#mm: mm, millimeter, millimeters, millimetre, millimetres
#mile: mile, miles, mi
#foot: foot, feet, ft
#inch: inch, inches
#yard: yard, yards
#kg: kg, kgs, kilo, kilos, kilogram, kilograms, kilogramme
#g: g, gram, grams, gramme, grammes
#mg: mg, milligram, milligrams
#ounce: ounce, ounces, oz
#pound: pound, pounds, lb, lbs
#liter: liter, liters, litre, litres, l
#ml: ml, milliliter, milliliters, millilitre
#gallon: gallon, gallons
#percent: percent, per cent, percentage, what percentage of, how many percent
#degree: degree, degrees
#celsius: celsius, centigrade
#fahrenheit: fahrenheit
#second_time: seconds, sec, secs
#minute: minute, minutes
#hour: hour, hours, hr, hrs
#day: day, days
#week: week, weeks
#month: month, months
#year: year, years, yr, yrs
#pm: pm
#amp: amp, amps, ampere, amperes
#volt: volt, volts
#watt: watt, watts
#kb: kb, kilobyte, kilobytes
#mb: mb, megabyte, megabytes
#gb: gb, gigabyte, gigabytes
#tb: tb, terabyte, terabytes
#dollar: dollar, dollars, usd, bucks
#euro: euro, euros, eur
#yen: yen, jpy
#yuan: yuan, rmb, cny
)";

}  // namespace

std::string_view english_words() { return kEnglish; }

namespace {

constexpr std::pair<std::string_view, std::string_view> kOpposites[] = {
    {"enable", "disable"},
    {"increase", "decrease"},
    {"start", "end"},
    {"before", "after"},
    {"most", "least"},
    {"more", "fewer"},
    {"high", "low"},
    {"large", "small"},
    {"largest", "smallest"},
    {"best", "worst"},
    {"near", "far"},
    {"merge", "split"},
    {"win", "lose"},
    {"legal", "illegal"},
    {"open", "clos"},
    {"raw", "cook"},
    {"faster", "slower"},
    {"fast", "slow"},
    {"cheaper", "expensive"},
    {"heavier", "lighter"},
    {"longest", "shortest"},
    {"highest", "lowest"},
    {"ascend", "descend"},
    {"horizontal", "vertic"},
    {"import", "export"},
    {"upload", "download"},
    {"encrypt", "decrypt"},
    {"read", "write"},
    {"buy", "sell"},
    {"install", "uninstall"},
    {"subscrib", "unsubscrib"},
    {"mute", "unmut"},
    {"lock", "unlock"},
    {"block", "unblock"},
    {"connect", "disconnect"},
    {"north", "south"},
    {"east", "west"},
    {"left", "right"},
    {"1", "last"},
    {"indoor", "outdoor"},
    {"day", "night"},
    {"make", "delete"},
    {"add", "delete"},
    {"hot", "cold"},
    {"soft", "hard"},
    {"good", "bad"},
    {"hire", "fire"},
    {"accept", "reject"},
    {"login", "logout"},
    {"inbound", "outbound"},
    {"top", "bottom"},
    {"early", "late"},
    {"earlier", "later"},
    {"younger", "older"},
    {"gain", "lose"},
    {"profit", "loss"},
    {"push", "pull"},
    {"allow", "deny"},
    {"whitelist", "blacklist"},
    {"cancel", "renew"},
    {"大", "小"},
    {"多", "少"},
    {"高", "低"},
    {"长", "短"},
    {"快", "慢"},
    {"早", "晚"},
    {"远", "近"},
    {"买", "卖"},
    {"开启", "关闭"},
    {"增加", "减少"},
    {"放大", "缩小"},
    {"之前", "之后"},
    {"以上", "以下"},
    {"最大", "最小"},
    {"最多", "最少"},
    {"最高", "最低"},
    {"最长", "最短"},
    {"最远", "最近"},
    {"开始", "结束"},
    {"水平", "垂直"},
    {"上传", "下载"},
    {"合法", "违法"},
    {"白天", "晚上"},
    {"首", "末"},
    {"加密", "解密"},
    {"导入", "导出"},
    {"登录", "退出"},
    {"注册", "注销"},
    {"制冷", "制热"},
    {"左", "右"},
    {"东", "西"},
    {"南", "北"},
    {"收入", "支出"},
    {"好", "坏"},
    {"好", "差"},
    {"升", "降"},
};

}  // namespace

std::span<const std::pair<std::string_view, std::string_view>> opposites() { return kOpposites; }

}  // namespace hadal::gateway
