"""Notes as people write them for themselves: short lines, bullets, tables, formulas, cards. All of it is good text."""

KOREAN = {
    "헌법.md": """# 헌법 총론

- 제1조: 대한민국은 민주공화국이다
- 주권은 국민에게 있음
- 기본권 제한: 법률로써, 필요한 경우에 한하여
    - 과잉금지원칙
    - 목적의 정당성 → 수단의 적합성 → 침해의 최소성 → 법익의 균형성
- 시험에 자주 나옴!!
""",
    "영단어.md": """## 7월 3주차 단어

| 단어 | 뜻 |
| --- | --- |
| abandon | 버리다, 포기하다 |
| benevolent | 자비로운 |
| candid | 솔직한 |
| diligent | 부지런한 |
| eloquent | 말을 잘하는 |
| frugal | 검소한 |

헷갈린 것: candid / candor
""",
    "물리.md": """# 역학 정리

뉴턴 제2법칙
F = ma

운동량 p = mv
충격량 J = FΔt = Δp

등가속도
v = v0 + at
s = v0t + ½at²
v² - v0² = 2as

※ 단위 조심: N = kg·m/s²
""",
    "한국사 카드.md": """Q. 고려를 세운 사람은?
A. 왕건

Q. 수도는?
A. 개경

Q. 훈요 10조를 남긴 왕은?
A. 태조

Q. 노비안검법은?
A. 광종, 956년

Q. 12목 설치?
A. 성종
""",
    "할 일.md": """# 오늘

- [x] 미적분 3장 복습
- [x] 영어 듣기 20분
- [ ] 화학 실험 보고서
- [ ] 동아리 회의 (6시, 학생회관)
- [ ] 빨래
""",
    "강의 3주차.md": """운영체제 3주차

프로세스란?
실행 중인 프로그램

상태
1. new
2. ready
3. running
4. waiting
5. terminated

PCB에 담기는 것: PID, 레지스터, 스케줄링 정보...
문맥 교환 = PCB 저장 + 복원...
교수님 왈 시험 나온다...
""",
    "읽은 책.md": """『데미안』 헤르만 헤세

새는 알에서 나오려고 투쟁한다.
알은 세계이다.

싱클레어가 자기 안의 두 세계를 인정하는 과정
다시 읽기!
""",
    "파이썬.md": """# 리스트 정리

```python
a = [3, 1, 2]
a.sort()
b = sorted(a, reverse=True)
```

sort()는 제자리, sorted()는 새 리스트
헷갈리지 말 것
""",
    "회의.md": """6/12 회의
참석: 나, 지은, 현우

- 발표 주제: 도시 열섬
- 자료 조사 → 지은
- PPT → 현우
- 발표 → 나
- 다음 모임 6/19(목) 7시
""",
    "통계.md": """평균 μ, 분산 σ²
표본평균의 분산 = σ²/n

신뢰구간 95%: x̄ ± 1.96·σ/√n
신뢰구간 99%: x̄ ± 2.58·σ/√n

n = 25, σ = 5, x̄ = 60
→ 60 ± 1.96
→ [58.04, 61.96]
""",
}
ENGLISH = {
    "biology.md": """# Cell respiration

- glycolysis: cytosol, 2 ATP net
- link reaction -> acetyl CoA
- Krebs: matrix
- ETC: inner membrane, ~28 ATP

Remember: O2 = final electron acceptor
""",
    "cards.txt": """Q: Treaty of Westphalia?
A: 1648

Q: Edict of Nantes?
A: 1598

Q: revoked?
A: 1685

Q: Peace of Augsburg?
A: 1555
""",
    "todo.md": """## Week 9

- [ ] problem set 4
- [x] email Dr Osei re extension
- [ ] library books!!
- [ ] read ch. 7-8
- [ ] laundry
""",
    "vocab.md": """| word | meaning |
| --- | --- |
| ephemeral | short-lived |
| laconic | few words |
| obdurate | stubborn |
| sanguine | hopeful |
""",
    "calc.md": """## Derivatives

(uv)' = u'v + uv'
(u/v)' = (u'v - uv')/v^2
d/dx sin x = cos x
d/dx ln x = 1/x

chain rule: f(g(x))' = f'(g(x)) g'(x)
""",
    "web design.md": """placeholder text: "lorem ipsum dolor sit amet", comes from Cicero

- flexbox: one direction
- grid: two
""",
    "lecture.md": """Lecture 5... Keynes

multiplier k = 1/(1-c)
c = 0.8 -> k = 5
crowding out...
liquidity trap...
ask: does this hold in an open economy?
""",
}
