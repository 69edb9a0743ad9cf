"""Questions about Hadal's own commands and the options of `hadal serve`."""

from .item import Item, dress

# command | what it does | 作用 | "How do I …" (two wordings) | 怎么…（两种说法）
COMMANDS = {
    "serve": ("starts the service: HTTP on port 8080, a web page at / and metrics at /metrics",
              "启动服务：HTTP在8080端口，网页在/，指标在/metrics",
              ["start the server", "run a model as a service"], ["启动服务器", "把模型作为服务运行"]),
    "ask": ("answers one question in the terminal", "在终端回答一个问题",
            ["ask one question in the terminal", "get a single answer"], ["在终端问一个问题", "只要一个回答"]),
    "chat": ("holds a conversation in the terminal", "在终端进行对话",
             ["chat in the terminal", "have a conversation with the model"], ["在终端聊天", "和模型对话"]),
    "inspect": ("shows what is in a model file and what it needs to run", "显示模型文件里有什么，以及运行它需要什么",
                ["look inside a model file", "see what is in a model file"], ["查看模型文件", "看模型文件里有什么"]),
    "plan": ("says which hardware a given demand needs, and at what cost", "说明给定的需求要用什么硬件，要花多少钱",
             ["plan the hardware", "estimate the hardware cost"], ["规划硬件", "估算硬件成本"]),
    "bench": ("measures tokens per second and latency", "测量每秒词元数和延迟",
              ["measure the speed", "benchmark a model"], ["测量速度", "给模型做性能测试"]),
    "eval": ("measures the quality of a model: perplexity, task accuracy and more", "测量模型的质量：困惑度、任务准确率等",
             ["measure the quality of a model", "evaluate a model"], ["测量模型质量", "评估模型"]),
    "quantize": ("makes a model smaller and says what loss that caused", "把模型变小，并说明造成的损失",
                 ["make a model smaller", "quantize a model"], ["把模型变小", "量化模型"]),
    "experts": ("shows which experts the traffic uses, and prunes, merges or places them",
                "显示流量用到哪些专家，并裁剪、合并或放置它们",
                ["see which experts are used", "prune experts"], ["查看用到哪些专家", "裁剪专家"]),
    "tune": ("searches the best settings for a workload", "为一种负载搜索最好的设置",
             ["find the best settings", "tune the settings for a workload"], ["找到最好的设置", "为负载调优"]),
    "finetune": ("trains adapters for a model", "为模型训练适配器",
                 ["train an adapter", "fine-tune a model"], ["训练适配器", "微调模型"]),
    "distill": ("trains a smaller student from a model", "用模型训练一个更小的学生模型",
                ["train a student model", "distill a model"], ["训练学生模型", "蒸馏模型"]),
    "operator": ("runs the Kubernetes controller", "运行Kubernetes控制器",
                 ["run Hadal on Kubernetes", "start the Kubernetes controller"],
                 ["在Kubernetes上运行Hadal", "启动Kubernetes控制器"]),
}
# option | what it sets | 作用 | "How do I …" | 怎么…
OPTIONS = {
    "--host": ("sets the address to listen on", "设置监听的地址", ["choose the listen address", "set the host"],
               ["设置监听地址", "指定主机"]),
    "--port": ("sets the port to listen on", "设置监听的端口", ["change the port", "set the port"], ["更改端口", "设置端口"]),
    "--model": ("names the model file to load", "指定要加载的模型文件", ["choose the model", "load my own model"],
                ["选择模型", "加载自己的模型"]),
    "--alias": ("sets the name under which clients see the model", "设置客户端看到的模型名称",
                ["rename the model for clients", "give the model another name"], ["给模型起别名", "更改模型的名称"]),
    "--context": ("sets the largest number of tokens in one sequence", "设置一个序列的最大词元数",
                  ["set the context length", "change the context size"], ["设置上下文长度", "更改上下文大小"]),
    "--max-sequences": ("sets how many sequences run at the same time", "设置同时运行多少个序列",
                        ["limit the number of parallel sequences", "set how many sequences run at once"],
                        ["限制并行序列数", "设置同时运行的序列数"]),
    "--kv-memory": ("sets how much memory the KV cache may use", "设置KV缓存可用的内存",
                    ["set the memory of the KV cache", "limit the KV cache"], ["设置KV缓存的内存", "限制KV缓存"]),
    "--threads": ("sets how many CPU threads are used", "设置使用多少个CPU线程",
                  ["set the number of threads", "use more CPU threads"], ["设置线程数", "使用更多CPU线程"]),
    "--api-key": ("sets the key that clients must send", "设置客户端必须发送的密钥",
                  ["require an API key", "protect the server with a key"], ["要求API密钥", "用密钥保护服务器"]),
    "--quantize": ("quantizes the weights while the model loads", "在加载模型时量化权重",
                   ["quantize the weights at load", "load the model in fewer bits"], ["加载时量化权重", "用更少的位加载模型"]),
    "--cpu-impl": ("forces one CPU implementation, such as avx2", "强制使用一种CPU实现，例如avx2",
                   ["force a CPU implementation", "choose the AVX2 kernels"], ["强制指定CPU实现", "选择AVX2内核"]),
}
GENERAL = [
    (["What is Hadal?", "Explain Hadal.", "What does Hadal do?", "Tell me about Hadal.", "Describe Hadal."],
     "Hadal is a private DeepSeek service in one C++ binary.",
     ["Hadal是什么？", "什么是Hadal？", "介绍一下Hadal。", "Hadal能做什么？"], "Hadal是一个用单个C++程序实现的私有DeepSeek服务。"),
    (["Which commands does Hadal have?", "What commands does Hadal have?", "List the commands of Hadal.",
      "What are Hadal's commands?", "Show me the Hadal commands."],
     "The commands are " + ", ".join(list(COMMANDS)[:-1]) + " and operator.",
     ["Hadal有哪些命令？", "列出Hadal的命令。", "Hadal的命令有哪些？"], "命令有" + "、".join(COMMANDS) + "。"),
    (["Which options does hadal serve have?", "What options does hadal serve take?", "List the options of hadal serve.",
      "What are the flags of hadal serve?"],
     "The options are " + ", ".join(list(OPTIONS)[:-1]) + " and --cpu-impl.",
     ["hadal serve有哪些选项？", "列出hadal serve的选项。", "hadal serve的参数有哪些？"], "选项有" + "、".join(OPTIONS) + "。"),
    (["Which port does Hadal use?", "What is the default port of Hadal?", "On which port does hadal serve listen?",
      "What port does hadal serve use?"],
     "Hadal listens on port 8080.", ["Hadal用哪个端口？", "Hadal的默认端口是多少？", "hadal serve监听哪个端口？"], "Hadal监听8080端口。"),
    (["Where are the metrics?", "Where does Hadal show its metrics?", "Which path has the metrics of Hadal?",
      "At which path are Hadal's metrics?"],
     "The metrics are at /metrics.", ["指标在哪里？", "Hadal的指标在哪个路径？", "在哪里看Hadal的指标？"], "指标在/metrics。"),
    (["Is Hadal open to my data leaving?", "Does my data leave the machine?", "Is Hadal private?",
      "Does Hadal send my data away?"],
     "Hadal is private: a local model keeps your data on your own machine.",
     ["Hadal是私有的吗？", "我的数据会离开机器吗？", "Hadal会把数据发出去吗？"], "Hadal是私有的：本地模型让数据留在您自己的机器上。"),
]


def what(rng, lang):
    name, (en, zh, _, _) = rng.choice(list(COMMANDS.items()))
    n = rng.choice(["hadal ", "hadal ", "`hadal "]) + name
    n += "`" if n[0] == "`" else ""
    if lang == "en":
        forms = ["What does {n} do?", "What is {n} for?", "What does the command {n} do?", "Explain {n}.",
                 "What is the use of {n}?", "What does the {s} command of Hadal do?", "Describe {n}.",
                 "What is {n}?", "Tell me what {n} does.", "When do I use {n}?", "What happens when I run {n}?", "What's {n} for?"]
        return forms, "hadal %s %s." % (name, en), {"n": n, "s": name}
    forms = ["{n}是做什么的？", "{n}有什么用？", "命令{n}的作用是什么？", "解释一下{n}。", "{n}是什么？", "Hadal的{s}命令做什么？",
             "介绍一下{n}。", "{n}是干什么的？", "{n}做什么？", "{n}的作用是什么？", "什么时候用{n}？"]
    return forms, "hadal %s：%s。" % (name, zh), {"n": n, "s": name}


def how(rng, lang):
    name, (_, _, en, zh) = rng.choice(list(COMMANDS.items()))
    if lang == "en":
        forms = ["How do I {w}?", "How can I {w} with Hadal?", "Which command do I use to {w}?", "How do I {w} with Hadal?",
                 "Which Hadal command lets me {w}?", "What is the command to {w}?", "I want to {w}. Which command?", "How can I {w}?", "With which command do I {w}?"]
        return forms, "Use hadal %s." % name, {"w": rng.choice(en)}
    forms = ["怎么{w}？", "如何用Hadal{w}？", "用哪个命令{w}？", "怎样{w}？", "我想{w}，用什么命令？", "哪个Hadal命令可以{w}？"]
    return forms, "用hadal %s。" % name, {"w": rng.choice(zh)}


def option_what(rng, lang):
    name, (en, zh, _, _) = rng.choice(list(OPTIONS.items()))
    n = rng.choice([name, name, "`%s`" % name, name[2:] if name in ("--kv-memory", "--api-key", "--cpu-impl") else name])
    if lang == "en":
        forms = ["What does {n} do?", "What does the option {n} do?", "What does the {n} flag of hadal serve do?",
                 "What is {n} for?", "Explain the {n} option.", "What does hadal serve {n} mean?",
                 "What is the {n} option of hadal serve?", "Explain {n}.", "What is {n}?", "What does {n} set?"]
        return forms, "%s %s." % (name, en), {"n": n}
    forms = ["{n}是做什么的？", "选项{n}有什么用？", "hadal serve的{n}是什么意思？", "{n}的作用是什么？", "解释一下{n}选项。",
             "参数{n}是什么？", "{n}是什么？", "{n}有什么用？", "{n}设置什么？"]
    return forms, "%s：%s。" % (name, zh), {"n": n}


def option_how(rng, lang):
    name, (_, _, en, zh) = rng.choice(list(OPTIONS.items()))
    if lang == "en":
        forms = ["How do I {w} in hadal serve?", "Which option of hadal serve do I use to {w}?", "Which flag lets me {w}?",
                 "Which option do I need to {w}?", "Which serve option is there to {w}?", "With which flag do I {w}?", "How do I {w}?", "How can I {w} when serving?"]
        return forms, "Use hadal serve %s." % name, {"w": rng.choice(en)}
    forms = ["hadal serve怎么{w}？", "用哪个选项{w}？", "哪个参数可以{w}？", "运行hadal serve时如何{w}？", "{w}用什么选项？", "怎么{w}？", "如何{w}？"]
    return forms, "用hadal serve %s。" % name, {"w": rng.choice(zh)}


def general(rng, lang):
    en, answer, zh, answer_zh = rng.choice(GENERAL)
    return (en, answer, {}) if lang == "en" else (zh, answer_zh, {})


def sample(rng, lang):
    make = rng.choices([what, how, option_what, option_how, general], [26, 26, 22, 18, 8])[0]
    forms, answer, slots = make(rng, lang)
    return Item(lang, "Hadal commands", dress(rng, lang, rng.choice(forms).format(**slots)), answer)
