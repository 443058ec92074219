"""Corpus + skills -> packed token rows."""
import json, random, sys, re, os, hashlib, numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers, Regex
import skills
SPECIALS=["<｜begin▁of▁sentence｜>","<｜end▁of▁sentence｜>","<｜▁pad▁｜>","<｜User｜>","<｜Assistant｜>","<think>","</think>","<｜tool▁calls▁begin｜>","<｜tool▁calls▁end｜>","<｜tool▁call▁begin｜>","<｜tool▁call▁end｜>","<｜tool▁outputs▁begin｜>","<｜tool▁outputs▁end｜>","<｜tool▁output▁begin｜>","<｜tool▁output▁end｜>","<｜tool▁sep｜>"]
P=r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
def build(texts):
    t=Tokenizer(models.BPE());t.pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{N}"),"isolated"),pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"),"isolated"),pre_tokenizers.Split(Regex(P),"isolated"),pre_tokenizers.ByteLevel(add_prefix_space=False,use_regex=False)])
    t.decoder=decoders.ByteLevel();t.train_from_iterator(texts,trainers.BpeTrainer(vocab_size=4096,special_tokens=SPECIALS,initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),show_progress=False));return t
def stories(corpus):
    docs=[]
    for f in sorted(os.listdir(corpus+"/stories")):
        text=open(f"{corpus}/stories/{f}").read();paras=text.split("\n\n");buf=[];n=0
        for p in paras:
            buf.append(p);n+=len(p)
            if n>1500: docs.append((f,"\n\n".join(buf)));buf=[];n=0
        if buf: docs.append((f,"\n\n".join(buf)))
    return docs
def chats(corpus):
    for f in sorted(os.listdir(corpus+"/chat")):
        if f.startswith("fairytaleqa"): continue
        for l in open(f"{corpus}/chat/{f}"):
            yield f,json.loads(l)["messages"]
def split(text): return hashlib.sha256(text.encode()).digest()[0]<10
def encode_chat(tok,msgs,think=None):
    ids=[0];mask=[0];n=len(msgs)
    for i,m in enumerate(msgs):
        c=tok.encode(m["content"],add_special_tokens=False).ids
        if m["role"]=="user": new=[3]+c;k=[0]*len(new)
        elif m["role"]=="assistant":
            pre=[4] 
            if think is not None: pre+= [5]; body=tok.encode(think,add_special_tokens=False).ids+[6]+c+[1]
            else: pre+=[6]; body=c+[1]
            new=pre+body;k=[0]*len(pre)+[1]*len(body)
        else: new=c;k=[0]*len(c)
        ids+=new;mask+=k
    return ids,mask
if __name__=="__main__":
    corpus,out=sys.argv[1:3];os.makedirs(out,exist_ok=True);r=random.Random(6)
    docs=stories(corpus);cs=list(chats(corpus))
    words=re.findall(r"\b[a-z]{3,9}\b"," ".join(d for _,d in docs[::4]));from collections import Counter
    common=[w for w,_ in Counter(words).most_common(2500)];skills.WORDS=common;json.dump(common,open(out+"/words.json","w"))
    sk=[skills.skill(r) for _ in range(4000)]
    tok=build([d for _,d in docs]+[m["content"] for _,ms in cs for m in ms]+[q+"\n"+t+"\n"+a for _,_,q,t,a in sk]);tok.save(out+"/tokenizer.json")
    train=[d for f,d in docs if not split(f+d[:60])];held=[d for f,d in docs if split(f+d[:60])]
    ctr=[m for f,m in cs if not split(m[0]["content"]+m[-1]["content"])];che=[m for f,m in cs if split(m[0]["content"]+m[-1]["content"])]
    json.dump({"stories":held[:150],"chat":che[:200]},open(out+"/held.json","w"))
    enc=tok.encode_batch(train,add_special_tokens=False)
    s=[np.array([0]+e.ids+[1],np.int16) for e in enc];c=[encode_chat(tok,m) for m in ctr]
    np.save(out+"/stories.npy",np.concatenate(s));np.save(out+"/chat_ids.npy",np.concatenate([np.array(i,np.int16) for i,_ in c]));np.save(out+"/chat_mask.npy",np.concatenate([np.array(k,np.int8) for _,k in c]))
    print("stories",sum(map(len,s)),"chat",sum(len(i) for i,_ in c),"vocab",tok.get_vocab_size())
