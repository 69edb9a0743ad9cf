"""The facts of the closed world, in English and Chinese. One line, one fact."""


def rows(text):
    return [tuple(part.strip() for part in line.split("|")) for line in text.strip().splitlines()]


# country | 国家 | capital | 首都 | continent
COUNTRIES = rows("""
China|中国|Beijing|北京|Asia
Japan|日本|Tokyo|东京|Asia
South Korea|韩国|Seoul|首尔|Asia
North Korea|朝鲜|Pyongyang|平壤|Asia
Mongolia|蒙古|Ulaanbaatar|乌兰巴托|Asia
Vietnam|越南|Hanoi|河内|Asia
Thailand|泰国|Bangkok|曼谷|Asia
Laos|老挝|Vientiane|万象|Asia
Cambodia|柬埔寨|Phnom Penh|金边|Asia
Malaysia|马来西亚|Kuala Lumpur|吉隆坡|Asia
Indonesia|印度尼西亚|Jakarta|雅加达|Asia
the Philippines|菲律宾|Manila|马尼拉|Asia
India|印度|New Delhi|新德里|Asia
Pakistan|巴基斯坦|Islamabad|伊斯兰堡|Asia
Bangladesh|孟加拉国|Dhaka|达卡|Asia
Nepal|尼泊尔|Kathmandu|加德满都|Asia
Afghanistan|阿富汗|Kabul|喀布尔|Asia
Iran|伊朗|Tehran|德黑兰|Asia
Iraq|伊拉克|Baghdad|巴格达|Asia
Saudi Arabia|沙特阿拉伯|Riyadh|利雅得|Asia
Qatar|卡塔尔|Doha|多哈|Asia
Oman|阿曼|Muscat|马斯喀特|Asia
Jordan|约旦|Amman|安曼|Asia
Lebanon|黎巴嫩|Beirut|贝鲁特|Asia
Syria|叙利亚|Damascus|大马士革|Asia
Turkey|土耳其|Ankara|安卡拉|Asia
Uzbekistan|乌兹别克斯坦|Tashkent|塔什干|Asia
Kazakhstan|哈萨克斯坦|Astana|阿斯塔纳|Asia
France|法国|Paris|巴黎|Europe
Germany|德国|Berlin|柏林|Europe
Italy|意大利|Rome|罗马|Europe
Spain|西班牙|Madrid|马德里|Europe
Portugal|葡萄牙|Lisbon|里斯本|Europe
the United Kingdom|英国|London|伦敦|Europe
Ireland|爱尔兰|Dublin|都柏林|Europe
Belgium|比利时|Brussels|布鲁塞尔|Europe
the Netherlands|荷兰|Amsterdam|阿姆斯特丹|Europe
Switzerland|瑞士|Bern|伯尔尼|Europe
Austria|奥地利|Vienna|维也纳|Europe
Poland|波兰|Warsaw|华沙|Europe
the Czech Republic|捷克|Prague|布拉格|Europe
Slovakia|斯洛伐克|Bratislava|布拉迪斯拉发|Europe
Hungary|匈牙利|Budapest|布达佩斯|Europe
Romania|罗马尼亚|Bucharest|布加勒斯特|Europe
Bulgaria|保加利亚|Sofia|索非亚|Europe
Greece|希腊|Athens|雅典|Europe
Serbia|塞尔维亚|Belgrade|贝尔格莱德|Europe
Croatia|克罗地亚|Zagreb|萨格勒布|Europe
Slovenia|斯洛文尼亚|Ljubljana|卢布尔雅那|Europe
Albania|阿尔巴尼亚|Tirana|地拉那|Europe
Denmark|丹麦|Copenhagen|哥本哈根|Europe
Sweden|瑞典|Stockholm|斯德哥尔摩|Europe
Norway|挪威|Oslo|奥斯陆|Europe
Finland|芬兰|Helsinki|赫尔辛基|Europe
Iceland|冰岛|Reykjavik|雷克雅未克|Europe
Estonia|爱沙尼亚|Tallinn|塔林|Europe
Latvia|拉脱维亚|Riga|里加|Europe
Lithuania|立陶宛|Vilnius|维尔纽斯|Europe
Russia|俄罗斯|Moscow|莫斯科|Europe
Ukraine|乌克兰|Kyiv|基辅|Europe
Belarus|白俄罗斯|Minsk|明斯克|Europe
Egypt|埃及|Cairo|开罗|Africa
Libya|利比亚|Tripoli|的黎波里|Africa
Tunisia|突尼斯|Tunis|突尼斯市|Africa
Algeria|阿尔及利亚|Algiers|阿尔及尔|Africa
Morocco|摩洛哥|Rabat|拉巴特|Africa
Sudan|苏丹|Khartoum|喀土穆|Africa
Ethiopia|埃塞俄比亚|Addis Ababa|亚的斯亚贝巴|Africa
Kenya|肯尼亚|Nairobi|内罗毕|Africa
Uganda|乌干达|Kampala|坎帕拉|Africa
Rwanda|卢旺达|Kigali|基加利|Africa
Somalia|索马里|Mogadishu|摩加迪沙|Africa
Nigeria|尼日利亚|Abuja|阿布贾|Africa
Ghana|加纳|Accra|阿克拉|Africa
Senegal|塞内加尔|Dakar|达喀尔|Africa
Angola|安哥拉|Luanda|罗安达|Africa
Zambia|赞比亚|Lusaka|卢萨卡|Africa
Zimbabwe|津巴布韦|Harare|哈拉雷|Africa
Namibia|纳米比亚|Windhoek|温得和克|Africa
Canada|加拿大|Ottawa|渥太华|North America
the United States|美国|Washington|华盛顿|North America
Mexico|墨西哥|Mexico City|墨西哥城|North America
Cuba|古巴|Havana|哈瓦那|North America
Jamaica|牙买加|Kingston|金斯敦|North America
Panama|巴拿马|Panama City|巴拿马城|North America
Brazil|巴西|Brasilia|巴西利亚|South America
Argentina|阿根廷|Buenos Aires|布宜诺斯艾利斯|South America
Chile|智利|Santiago|圣地亚哥|South America
Peru|秘鲁|Lima|利马|South America
Colombia|哥伦比亚|Bogota|波哥大|South America
Venezuela|委内瑞拉|Caracas|加拉加斯|South America
Ecuador|厄瓜多尔|Quito|基多|South America
Uruguay|乌拉圭|Montevideo|蒙得维的亚|South America
Australia|澳大利亚|Canberra|堪培拉|Oceania
New Zealand|新西兰|Wellington|惠灵顿|Oceania
Fiji|斐济|Suva|苏瓦|Oceania
""")
CONTINENTS = {"Asia": "亚洲", "Europe": "欧洲", "Africa": "非洲", "North America": "北美洲",
              "South America": "南美洲", "Oceania": "大洋洲"}

OPPOSITES_EN = rows("""
hot|cold
big|small
tall|short
fast|slow
happy|sad
young|old
early|late
open|closed
light|dark
hard|soft
wet|dry
full|empty
rich|poor
strong|weak
heavy|light
high|low
near|far
clean|dirty
loud|quiet
deep|shallow
wide|narrow
thick|thin
good|bad
right|wrong
true|false
easy|difficult
cheap|expensive
brave|afraid
up|down
left|right
in|out
day|night
black|white
first|last
push|pull
buy|sell
win|lose
give|take
start|stop
love|hate
""")
OPPOSITES_ZH = rows("""
大|小
高|矮
快|慢
热|冷
多|少
长|短
胖|瘦
新|旧
早|晚
远|近
轻|重
黑|白
上|下
左|右
前|后
里|外
开|关
买|卖
输|赢
深|浅
宽|窄
厚|薄
强|弱
贫穷|富有
干净|肮脏
高兴|难过
简单|复杂
安静|吵闹
勇敢|胆小
白天|黑夜
""")

# animal | 动物 | English verb of its sound | 叫声 | young | 幼崽 | legs
ANIMALS = rows("""
dog|狗|barks|汪汪|puppy|小狗|4
cat|猫|meows|喵喵|kitten|小猫|4
cow|牛|moos|哞哞|calf|小牛|4
sheep|羊|bleats|咩咩|lamb|小羊|4
duck|鸭子|quacks|嘎嘎|duckling|小鸭|2
lion|狮子|roars|吼吼|cub|小狮子|4
horse|马|neighs|咴咴|foal|小马|4
pig|猪|oinks|哼哼|piglet|小猪|4
frog|青蛙|croaks|呱呱|tadpole|蝌蚪|4
bee|蜜蜂|buzzes|嗡嗡|larva|幼虫|6
chicken|鸡|clucks|咯咯|chick|小鸡|2
wolf|狼|howls|嗷嗷|pup|小狼|4
snake|蛇|hisses|嘶嘶|snakelet|小蛇|0
mouse|老鼠|squeaks|吱吱|pup|小老鼠|4
owl|猫头鹰|hoots|呜呜|owlet|小猫头鹰|2
""")

# thing | 东西 | colour | 颜色
COLOURS = rows("""
the sky|天空|blue|蓝色
grass|草|green|绿色
snow|雪|white|白色
blood|血|red|红色
a banana|香蕉|yellow|黄色
a lemon|柠檬|yellow|黄色
coal|煤|black|黑色
a strawberry|草莓|red|红色
the sun|太阳|yellow|黄色
milk|牛奶|white|白色
an orange|橙子|orange|橙色
chocolate|巧克力|brown|棕色
a carrot|胡萝卜|orange|橙色
a cucumber|黄瓜|green|绿色
a tomato|番茄|red|红色
an elephant|大象|grey|灰色
a flamingo|火烈鸟|pink|粉色
a polar bear|北极熊|white|白色
a crow|乌鸦|black|黑色
an eggplant|茄子|purple|紫色
""")

# shape | 形状 | sides
SHAPES = rows("""
triangle|三角形|3
square|正方形|4
rectangle|长方形|4
pentagon|五边形|5
hexagon|六边形|6
heptagon|七边形|7
octagon|八边形|8
decagon|十边形|10
""")

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December"]
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
MONTHS_ZH = ["一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS_ZH = ["星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"]
PLANETS = ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"]
PLANETS_ZH = ["水星", "金星", "地球", "火星", "木星", "土星", "天王星", "海王星"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]

# English | 中文
DICTIONARY = rows("""
water|水
fire|火
mountain|山
river|河
sea|海
sky|天空
sun|太阳
moon|月亮
star|星星
rain|雨
snow|雪
wind|风
tree|树
flower|花
grass|草
fish|鱼
bird|鸟
dog|狗
cat|猫
horse|马
cow|牛
sheep|羊
pig|猪
tiger|老虎
lion|狮子
elephant|大象
monkey|猴子
rabbit|兔子
snake|蛇
bee|蜜蜂
apple|苹果
banana|香蕉
orange|橙子
grape|葡萄
rice|米饭
bread|面包
milk|牛奶
tea|茶
coffee|咖啡
egg|鸡蛋
salt|盐
sugar|糖
house|房子
door|门
window|窗户
table|桌子
chair|椅子
bed|床
book|书
pen|笔
paper|纸
school|学校
teacher|老师
student|学生
doctor|医生
friend|朋友
mother|妈妈
father|爸爸
brother|兄弟
sister|姐妹
child|孩子
hand|手
eye|眼睛
head|头
heart|心
car|汽车
train|火车
plane|飞机
ship|船
bicycle|自行车
road|路
city|城市
country|国家
money|钱
time|时间
today|今天
tomorrow|明天
yesterday|昨天
morning|早上
night|晚上
red|红色
blue|蓝色
green|绿色
black|黑色
white|白色
yellow|黄色
computer|电脑
phone|手机
music|音乐
love|爱
peace|和平
dream|梦
""")

# question words | 问法 | answer | 答案: `/` separates wordings of one question
MISC = rows("""
How many days are there in a week/How many days does a week have|一个星期有几天/一周有几天|There are 7 days in a week.|一个星期有7天。
How many months are there in a year/How many months does a year have|一年有几个月/一年有多少个月|There are 12 months in a year.|一年有12个月。
How many days are there in a year/How many days does a year have|一年有多少天/一年有几天|There are 365 days in a year.|一年有365天。
How many hours are there in a day/How many hours does a day have|一天有几个小时/一天有多少小时|There are 24 hours in a day.|一天有24小时。
How many minutes are there in an hour/How many minutes does an hour have|一小时有几分钟/一个小时有多少分钟|There are 60 minutes in an hour.|一小时有60分钟。
How many seconds are there in a minute/How many seconds does a minute have|一分钟有几秒/一分钟有多少秒|There are 60 seconds in a minute.|一分钟有60秒。
How many seasons are there in a year/How many seasons does a year have|一年有几个季节/一年有多少个季节|There are 4 seasons in a year.|一年有4个季节。
How many centimetres are there in a metre/How many centimetres does a metre have|一米有多少厘米/一米等于几厘米|There are 100 centimetres in a metre.|一米有100厘米。
How many metres are there in a kilometre/How many metres does a kilometre have|一公里有多少米/一公里等于几米|There are 1000 metres in a kilometre.|一公里有1000米。
How many grams are there in a kilogram/How many grams does a kilogram have|一公斤有多少克/一公斤等于几克|There are 1000 grams in a kilogram.|一公斤有1000克。
How many years are there in a century/How many years does a century have|一个世纪有多少年/一世纪有几年|There are 100 years in a century.|一个世纪有100年。
How many planets are there in the solar system/How many planets does the solar system have|太阳系有几颗行星/太阳系有多少颗行星|There are 8 planets in the solar system.|太阳系有8颗行星。
How many continents are there/How many continents does the Earth have|世界上有几个大洲/地球上有多少个大洲|There are 7 continents.|世界上有7个大洲。
How many letters are there in the English alphabet/How many letters does the English alphabet have|英文字母有几个/英语有多少个字母|There are 26 letters in the English alphabet.|英文字母有26个。
How many colours are there in a rainbow/How many colours does a rainbow have|彩虹有几种颜色/彩虹有多少种颜色|There are 7 colours in a rainbow.|彩虹有7种颜色。
How many fingers are there on one hand/How many fingers does a hand have|一只手有几根手指/一只手有多少根手指|There are 5 fingers on one hand.|一只手有5根手指。
What is the largest ocean/Which ocean is the largest|最大的海洋是哪个/世界上最大的海洋是什么|The largest ocean is the Pacific Ocean.|最大的海洋是太平洋。
What is the highest mountain/Which mountain is the highest|最高的山是哪座/世界上最高的山是什么|The highest mountain is Mount Everest.|最高的山是珠穆朗玛峰。
What is the largest country/Which country is the largest|面积最大的国家是哪个/世界上最大的国家是哪个|The largest country is Russia.|最大的国家是俄罗斯。
What is the largest planet/Which planet is the largest|最大的行星是哪颗/太阳系最大的行星是什么|The largest planet is Jupiter.|最大的行星是木星。
What is the largest animal/Which animal is the largest|最大的动物是什么/世界上最大的动物是哪种|The largest animal is the blue whale.|最大的动物是蓝鲸。
What is the fastest land animal/Which land animal is the fastest|跑得最快的动物是什么/陆地上最快的动物是什么|The fastest land animal is the cheetah.|跑得最快的动物是猎豹。
What is the tallest animal/Which animal is the tallest|最高的动物是什么/世界上最高的动物是哪种|The tallest animal is the giraffe.|最高的动物是长颈鹿。
What is the chemical formula of water/What is the formula for water|水的化学式是什么/水的分子式是什么|The chemical formula of water is H2O.|水的化学式是H2O。
At what temperature does water boil/When does water boil|水在多少度沸腾/水的沸点是多少|Water boils at 100 degrees Celsius.|水在100摄氏度沸腾。
At what temperature does water freeze/When does water freeze|水在多少度结冰/水的冰点是多少|Water freezes at 0 degrees Celsius.|水在0摄氏度结冰。
Where does the sun rise/In which direction does the sun rise|太阳从哪里升起/太阳从哪个方向升起|The sun rises in the east.|太阳从东方升起。
Where does the sun set/In which direction does the sun set|太阳从哪里落下/太阳从哪个方向落下|The sun sets in the west.|太阳从西方落下。
What do bees make/What do bees produce|蜜蜂酿什么/蜜蜂做什么|Bees make honey.|蜜蜂酿蜂蜜。
What do pandas eat/What does a panda eat|熊猫吃什么/大熊猫吃什么|Pandas eat bamboo.|熊猫吃竹子。
""")
